"""Coroutines behind a plain call, also where an event loop is already running (notebooks, servers)."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from typing import Any, TypeVar

T = TypeVar("T")


def run_blocking(make: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run a coroutine to its end in a thread of its own and return its result.

    Ctrl-C cancels it, waits until it has closed its connections, and passes on.

    Args:
        make: makes the coroutine, in the thread that will run it.

    Example:
        >>> async def answer() -> int:
        ...     return 42
        >>> run_blocking(answer)
        42
    """
    done: Future[T] = Future()
    running: list[tuple[asyncio.AbstractEventLoop, asyncio.Task[T]]] = []
    started = threading.Event()

    async def main() -> T:
        task = asyncio.ensure_future(make())
        running.append((asyncio.get_running_loop(), task))
        started.set()
        return await task

    def work() -> None:
        try:
            done.set_result(asyncio.run(main()))
        except BaseException as error:  # noqa: BLE001  # handed to the caller's thread, whatever it is
            done.set_exception(error)
        finally:
            started.set()

    thread = threading.Thread(target=work, name="whybox-remote", daemon=True)
    thread.start()
    try:
        return done.result()
    except BaseException:
        started.wait()
        if running and not done.done():
            loop, task = running[0]
            with contextlib.suppress(RuntimeError):  # the loop closed in between
                loop.call_soon_threadsafe(task.cancel)
        raise
    finally:
        thread.join()
