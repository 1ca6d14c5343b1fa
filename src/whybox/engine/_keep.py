"""Answers of a remote model are kept as they arrive: what is in flight when a job is killed is all that it loses."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from whybox.engine._cache import Cache
from whybox.engine._checkpoint import Checkpoint
from whybox.typing import Floats, Ints, OnAnswer


class Kept:
    """Writes answers of one batch into the checkpoint, and remembers which.

    Args:
        log: the checkpoint.
        unit: the part of the job.
        first: position of the batch in it.
        n: rows of the batch.
    """

    def __init__(self, log: Checkpoint, unit: int, first: int, n: int) -> None:
        self._log, self._unit, self._first = log, unit, first
        self.done = np.zeros(n, dtype=bool)

    def __call__(self, at: Ints, outputs: Floats, one_axis: bool) -> None:
        """Keep the outputs of some rows; such as the engine would not take are left to it."""
        if np.isfinite(outputs).all():
            self._log.record(self._unit, self._first + at, outputs, one_axis)
            self.done[at] = True


def keep_first(n: int, keep: OnAnswer | None) -> OnAnswer | None:
    """Only the first n rows: those that follow are control rows."""
    if keep is None:
        return None

    def kept(at: Ints, outputs: Floats, one_axis: bool) -> None:
        own = at < n
        if own.any():
            keep(at[own], outputs[own], one_axis)

    return kept


def keep_in_cache(cache: Cache, keys: NDArray[np.uint64], rest: Ints, keep: OnAnswer | None) -> OnAnswer:
    """Into the cache, and further.

    Args:
        cache: the file.
        keys: (n, 2) of all rows of the batch.
        rest: positions of those that are asked.
        keep: takes positions in the batch, or None.
    """

    def kept(at: Ints, outputs: Floats, one_axis: bool) -> None:
        if np.isfinite(outputs).all():
            cache.put(keys[rest[at]], outputs, one_axis)
        if keep is not None:
            keep(rest[at], outputs, one_axis)

    return kept
