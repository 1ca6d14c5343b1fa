"""Exact deduplication: identical rows are sent once in a job."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from whybox.typing import Floats, Ints

_STORE_BYTES = 16 << 20


def share_repeated(keys: NDArray[np.uint64]) -> float:
    """Share of these keys that stood there before; sorted, because that is quicker than a table of them.

    Example:
        >>> share_repeated(np.array([3, 1, 3, 3], dtype=np.uint64))
        0.5
    """
    ordered = np.sort(keys)
    return float((ordered[1:] == ordered[:-1]).sum() / max(len(keys), 1))


class Deduplicator:
    """Remembers answered rows by 128-bit key, within a byte limit (past it, new rows are no longer remembered, never forgotten wrongly)."""

    def __init__(self) -> None:
        self._keys: NDArray[np.uint64] = np.empty((0, 2), dtype=np.uint64)
        self._outputs: Floats = np.empty((0, 0))

    def plan(self, keys: NDArray[np.uint64]) -> tuple[Ints, Ints] | None:
        """Which rows to send, and where each row finds its answer.

        Args:
            keys: (N, 2) keys.

        Returns:
            (u,) positions of the first row of each distinct key, and (N,) position in that list; None if two different rows share their
            first 64 bits (then nothing is deduplicated).
        """
        _, first, inverse = np.unique(keys[:, 0], return_index=True, return_inverse=True)
        if not np.array_equal(keys[first, 1][inverse], keys[:, 1]):
            return None
        order = np.argsort(first, kind="stable")  # ask in the job's own order, so that checkpoints and batches follow it
        rank = np.empty_like(order)
        rank[order] = np.arange(len(order))
        return first[order].astype(np.int64), rank[inverse.reshape(-1)].astype(np.int64)

    def known(self, keys: NDArray[np.uint64]) -> tuple[NDArray[np.bool_], Floats]:
        """Which of these distinct keys have an answer, and the answers of those."""
        if not len(self._keys):
            return np.zeros(len(keys), dtype=bool), self._outputs
        at = np.minimum(np.searchsorted(self._keys[:, 0], keys[:, 0]), len(self._keys) - 1)
        hit = (self._keys[at] == keys).all(axis=1)
        return hit, self._outputs[at[hit]]

    def learn(self, keys: NDArray[np.uint64], outputs: Floats) -> None:
        """Remember answers of distinct keys that were not known."""
        room = _STORE_BYTES // (16 + 8 * outputs.shape[1]) - len(self._keys)
        keys, outputs = keys[: max(room, 0)], outputs[: max(room, 0)]
        if not len(keys):
            return
        old = self._outputs if len(self._keys) else np.empty((0, outputs.shape[1]))
        merged = np.concatenate([self._keys, keys])
        order = np.argsort(merged[:, 0], kind="stable")
        self._keys = merged[order]
        self._outputs = np.concatenate([old, outputs])[order]
