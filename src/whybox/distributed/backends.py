"""The seam between a job and the engine that runs it: one method."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Protocol, runtime_checkable

from whybox.distributed._sources import Batch, Batches


@runtime_checkable
class Backend(Protocol):
    """Anything that maps a function over batches, in whatever order and on whatever machines."""

    def map_batches(self, fn: Callable[[Batch], Any], batches: Batches) -> Iterator[tuple[int, Any]]:
        """Call ``fn`` with every batch and yield (number, result) as each is finished.

        Args:
            fn: a picklable function of a batch. It may be called twice for a batch: what it writes, it writes once.
            batches: to be iterated here, one batch at a time, or sent to the workers as a whole, with numbers: ``batches[number]``.

        Raises:
            WorkerLostError: not every batch was done, for reasons that are not the function's.
        """
