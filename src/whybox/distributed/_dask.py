"""Dask: futures of a distributed client."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

from whybox.distributed._sources import Batch, Batches
from whybox.errors import MissingDependencyError, WorkerLostError


@dataclass(frozen=True)
class Dask:
    """Workers of a Dask cluster. The current client is used; otherwise a cluster of processes is started on this machine.

    Args:
        client: a ``distributed.Client``; None (default) takes the current one.
        workers: processes of a cluster that is started here; None (default) takes one a core.

    Example:
        >>> Dask(workers=2)
        Dask(client=None, workers=2)
    """

    client: Any = None
    workers: int | None = None

    def map_batches(self, fn: Callable[[Batch], Any], batches: Batches) -> Iterator[tuple[int, Any]]:
        """Results as they are finished.

        Raises:
            MissingDependencyError: dask.distributed is not installed.
            WorkerLostError: the workers that a batch was given to died, again and again.
        """
        try:
            import distributed
        except ImportError:
            raise MissingDependencyError("distributed", "dask", 'engine="dask"') from None
        client = self.client
        with ExitStack() as own:
            if client is None:
                try:
                    client = distributed.get_client()
                except ValueError:
                    own.enter_context(_script_left_alone())
                    cluster = distributed.LocalCluster(
                        n_workers=self.workers, threads_per_worker=1, processes=True, dashboard_address=None, silence_logs=40
                    )
                    client = own.enter_context(distributed.Client(own.enter_context(cluster)))
            try:
                yield from _mapped(distributed, client, fn, batches)
            except (distributed.KilledWorker, distributed.client.FutureCancelledError) as error:
                raise WorkerLostError(f"{type(error).__name__}: {error}") from error


@contextmanager
def _script_left_alone() -> Iterator[None]:
    """Processes that Dask starts here do not run the caller's script.

    ``multiprocessing`` runs it in each new process, for functions that are pickled by name. Ours are pickled by content, and a script
    without ``if __name__ == "__main__":`` would start the job once more, and Dask would only say that a worker did not come up.
    """
    main = sys.modules["__main__"]
    known = vars(main)
    kept: dict[str, Any] = {name: known.pop(name) for name in ("__file__", "__spec__") if name in known}
    main.__spec__ = None
    try:
        yield
    finally:
        known.update(kept)


def _mapped(distributed: Any, client: Any, fn: Callable[[Batch], Any], batches: Batches) -> Iterator[tuple[int, Any]]:
    shared = client.scatter((fn, batches), broadcast=True, hash=False)
    futures = client.map(_run, list(batches.numbers), task=shared, pure=False)
    try:
        for future in distributed.as_completed(futures):
            yield future.result()
    finally:
        client.cancel(futures)


def _run(number: int, task: tuple[Callable[[Batch], Any], Batches]) -> tuple[int, Any]:
    fn, batches = task
    return number, fn(batches[number])
