"""Processes on this machine, by loky, which scikit-learn brings along with joblib."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from whybox.distributed._sources import Batch, Batches
from whybox.errors import OptionError, WorkerLostError

_TASK: list[Callable[[Batch], Any]] = []  # of this worker process
_BUSY = threading.Lock()  # held while a batch is explained
_LOOK = 1.0  # seconds between looks at the parent


@dataclass(frozen=True)
class Local:
    """Processes on this machine.

    Args:
        workers: how many; None (default) takes one for each core that this process may use. With 1, the calling process does the work.

    Raises:
        OptionError: workers is not a positive whole number.

    Example:
        >>> Local(workers=2)
        Local(workers=2)
    """

    workers: int | None = None

    def __post_init__(self) -> None:
        if self.workers is not None and (isinstance(self.workers, bool) or not isinstance(self.workers, int) or self.workers < 1):
            raise OptionError(f"workers: expected a positive whole number or None, got {self.workers!r}")

    def map_batches(self, fn: Callable[[Batch], Any], batches: Batches) -> Iterator[tuple[int, Any]]:
        """Results as they are finished. At most two batches a worker are made ahead, so memory does not grow with the data.

        Raises:
            WorkerLostError: a worker process died.
        """
        import joblib

        workers = min(self.workers or joblib.cpu_count(), len(batches))
        if workers == 1:
            for number in batches.numbers:
                yield number, fn(batches[number])
            return
        yield from _pool(fn, batches, workers)


def _pool(fn: Callable[[Batch], Any], batches: Batches, workers: int) -> Iterator[tuple[int, Any]]:
    from concurrent.futures import FIRST_COMPLETED, Future, wait

    from joblib.externals.loky import ProcessPoolExecutor
    from joblib.externals.loky.process_executor import BrokenProcessPool

    waiting = iter(batches.numbers)
    under_way: dict[Future[Any], int] = {}
    pool = ProcessPoolExecutor(max_workers=workers, initializer=_install, initargs=(fn,))
    try:
        while True:
            while len(under_way) < 2 * workers and (number := next(waiting, None)) is not None:
                under_way[pool.submit(_run, batches[number])] = number
            if not under_way:
                return
            for future in wait(under_way, return_when=FIRST_COMPLETED).done:
                number = under_way.pop(future)
                yield number, future.result()
    except BrokenProcessPool as error:
        raise WorkerLostError(f"{type(error).__name__}: {error}") from error
    finally:
        pool.shutdown(wait=True, kill_workers=True)  # whoever is still there is idle, or no longer wanted


def _install(fn: Callable[[Batch], Any]) -> None:
    _TASK[:] = [fn]
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the driver's: a worker that it interrupts would begin another batch
    threading.Thread(target=_exit_with, args=(os.getppid(),), daemon=True).start()


def _exit_with(parent: int) -> None:
    """Leave when the driver was killed, but not before the batch under way has its shard."""
    while os.getppid() == parent:
        time.sleep(_LOOK)
    _TASK.clear()
    with _BUSY:
        os._exit(0)


def _run(batch: Batch) -> Any:
    with _BUSY:
        return _TASK[0](batch)
