"""Token lists of many lengths in few padded forwards: sorted by length, cut by a budget of padded tokens, halved when memory runs out."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from whybox._arrays import is_out_of_memory


def for_each_bucket(
    lengths: Sequence[int],
    work: Callable[[list[int]], None],
    *,
    rows: int | None = None,
    tokens: int | None = None,
    extra: int = 0,
    release: Callable[[], None] | None = None,
) -> int | None:
    """Do the work for all rows, the longest first, in buckets of like length.

    Args:
        lengths: tokens of each row.
        work: gets the positions of a bucket's rows, the longest first.
        rows: the most rows of a bucket, or None.
        tokens: the most padded tokens of a bucket, or None; a row that is longer goes alone.
        extra: tokens that the work adds to every row.
        release: called after memory ran out, when the failed bucket's tensors are gone.

    Returns:
        The budget of tokens that memory allowed: ``tokens``, or less.

    Raises:
        MemoryError: one row alone does not fit (or the library's own out-of-memory error).
    """
    order = sorted(range(len(lengths)), key=lambda i: (-lengths[i], i))
    start = 0
    while start < len(order):
        width = lengths[order[start]] + extra
        most = len(order) if rows is None else rows
        most = most if tokens is None else min(most, max(tokens // max(width, 1), 1))
        bucket = order[start : start + most]
        try:
            work(bucket)
            failed = False
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error) or len(bucket) == 1:
                raise
            failed = True
        if failed:  # outside the handler: the error's traceback holds the bucket's tensors
            half = max(len(bucket) // 2, 1)
            rows = None if rows is None else half
            tokens = None if tokens is None else half * width
            if rows is None and tokens is None:
                rows = half
            if release is not None:
                release()
            continue
        start += len(bucket)
    return tokens


def padded(
    sequences: Sequence[Sequence[int]], pad: int, *, left: bool = False, width: int | None = None
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Token lists as one array.

    Args:
        sequences: the tokens of each row.
        pad: what fills a row up.
        left: fill at the left; default at the right.
        width: columns; None takes the longest row's.

    Returns:
        (rows, width) tokens, and (rows, width) ones where tokens are.
    """
    lengths = np.fromiter(map(len, sequences), dtype=np.int64, count=len(sequences))
    columns = np.arange(int(lengths.max(initial=0)) if width is None else width)
    there = columns >= len(columns) - lengths[:, None] if left else columns < lengths[:, None]
    ids = np.full(there.shape, pad, dtype=np.int64)
    ids[there] = np.fromiter((token for sequence in sequences for token in sequence), dtype=np.int64, count=int(lengths.sum()))
    return ids, there.astype(np.int64)
