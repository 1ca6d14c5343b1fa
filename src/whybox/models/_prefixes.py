"""Which prompts share a beginning that is worth a forward of its own."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from whybox.typing import Ints

_MOST_ROWS = 256  # looked at together; rows beyond are looked at among themselves


def prefix_groups(rows: Sequence[list[int]], *, overhead: int, least: int) -> list[tuple[int, list[int]]]:
    """Rows in groups, so that computing each group's common beginning once, and then the rest of each row, takes the fewest tokens.

    Rows are sorted; what two neighbours share, everything between them shares. A range is either one group, or cut where neighbours share
    the least. The last token of a row is never part of the common beginning: its output is wanted.

    Args:
        rows: tokens of each row, at least one.
        overhead: tokens that a group of its own costs on top, as its forwards are smaller.
        least: the shortest beginning that is worth it.

    Returns:
        (length of the common beginning, positions of its rows) of each group; first, with length 0, the rows that share nothing, if any.

    Example:
        >>> prefix_groups([[1, 2, 3, 4, 5], [9], [1, 2, 3, 4, 6]], overhead=1, least=2)
        [(0, [1]), (4, [0, 2])]
    """
    order = sorted(range(len(rows)), key=lambda i: rows[i])
    alone: list[int] = []
    groups: list[tuple[int, list[int]]] = []
    for start in range(0, len(order), _MOST_ROWS):
        part = order[start : start + _MOST_ROWS]
        lengths = np.array([len(rows[i]) for i in part], dtype=np.int64)
        shared = np.array([_common(rows[a], rows[b]) for a, b in pairwise(part)], dtype=np.int64)
        for common, low, high in _best(shared, lengths, 0, len(part), overhead, least)[1]:
            if common:
                groups.append((common, part[low:high]))
            else:
                alone.extend(part[low:high])
    return [(0, sorted(alone)), *groups] if alone else groups


def _best(shared: Ints, lengths: Ints, low: int, high: int, overhead: int, least: int) -> tuple[int, list[tuple[int, int, int]]]:
    """Tokens, and groups (common, low, high), of the sorted rows low to high."""
    total = int(lengths[low:high].sum())
    if high - low == 1:
        return total, [(0, low, high)]
    cut = low + int(np.argmin(shared[low : high - 1])) + 1
    left, right = _best(shared, lengths, low, cut, overhead, least), _best(shared, lengths, cut, high, overhead, least)
    apart = left[0] + right[0]
    common = min(int(shared[cut - 1]), int(lengths[low:high].min()) - 1)
    together = total - common * (high - low - 1) + overhead
    if common >= least and together <= apart:
        return together, [(common, low, high)]
    return apart, [*left[1], *right[1]]


def _common(a: Sequence[int], b: Sequence[int]) -> int:
    """How many tokens two rows begin with alike."""
    most = min(len(a), len(b))
    return next((i for i in range(most) if a[i] != b[i]), most)
