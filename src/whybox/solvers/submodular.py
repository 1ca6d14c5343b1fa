"""A few sets that cover much together: greedy choice."""

from __future__ import annotations

import numpy as np

from whybox.typing import Bools, Floats, Ints


def greedy_cover(covers: Bools, worth: Floats, k: int) -> tuple[Ints, Floats]:
    """Choose k rows one after the other, each the one that adds most worth to what is covered already; ties go to the first row.

    Coverage is submodular, so that this reaches at least ``1 - 1/e`` of the best choice's worth (Nemhauser, Wolsey and Fisher 1978).

    Args:
        covers: (n, f) which features each row covers.
        worth: (f,) non-negative worth of each feature.
        k: how many rows, at most n.

    Returns:
        (k,) rows in the order of choice, and (k,) the share of the whole worth that is covered after each.

    Example:
        >>> covers = np.array([[True, True, False], [True, False, False], [False, False, True]])
        >>> rows, share = greedy_cover(covers, np.array([1.0, 1.0, 2.0]), 2)
        >>> rows.tolist(), share.tolist()
        ([0, 2], [0.5, 1.0])
    """
    left = np.ones(len(worth), dtype=bool)
    free = np.ones(len(covers), dtype=bool)
    chosen, share = np.empty(k, dtype=np.int64), np.empty(k)
    total = float(worth[covers.any(axis=0)].sum())
    covered = 0.0
    for i in range(k):
        gain = np.where(free, (covers & left) @ worth, -1.0)
        best = int(np.argmax(gain))
        chosen[i], free[best] = best, False
        covered += float(gain[best])
        left &= ~covers[best]
        share[i] = covered / total if total > 0 else 1.0
    return chosen, share
