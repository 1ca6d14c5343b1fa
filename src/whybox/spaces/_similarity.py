"""How alike the columns of a background are: rank correlation, also of categories."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.stats import rankdata

from whybox._arrays import is_frame, to_numpy
from whybox.spaces._columns import cell_codes
from whybox.spaces._levels import as_numbers, is_ordered
from whybox.typing import Floats

_MOST_LEVELS = 20
_MOST_COLUMNS = 1000  # the table of pairs


def column_similarity(background: Any, names: tuple[str, ...]) -> Floats | None:
    """(d, d) largest absolute Spearman correlation between the parts of two columns.

    A numeric column, date or duration has one part, its ranks (missing values rank in the middle). A category has an indicator for each
    of its twenty most frequent values. A constant column is like no other.

    Args:
        background: (b, d) array or DataFrame.
        names: d column names, for messages.

    Returns:
        None for more than 1000 columns, whose pairs are too many.
    """
    if len(names) > _MOST_COLUMNS:
        return None
    parts, owner = [], []
    host = None if is_frame(background) else to_numpy(background)
    for j, name in enumerate(names):
        values: Any = host[:, j] if host is not None else background.iloc[:, j]
        if host is None:
            values = values.to_numpy() if isinstance(values.dtype, np.dtype) else values.array
        if is_ordered(values) and getattr(values.dtype, "kind", "") != "c":
            finite = np.where(np.isinf(values), np.sign(values) * np.finfo(np.float64).max, values) if _is_float(values) else values
            numbers, missing = as_numbers(finite, name)
            rank = np.full(len(numbers), np.nan)
            rank[~missing] = rankdata(numbers[~missing])
            mean = 0.0 if missing.all() else float(np.nanmean(rank))
            parts.append(np.where(missing, mean, rank))
            owner.append(j)
            continue
        levels, counts = np.unique(cell_codes(values), return_inverse=True, return_counts=True)[1:]
        for level in np.argsort(-counts, kind="stable")[:_MOST_LEVELS]:
            parts.append((levels == level).astype(np.float64))
            owner.append(j)
    table = np.stack(parts)
    table -= table.mean(axis=1, keepdims=True)
    size = np.sqrt((table**2).sum(axis=1, keepdims=True))
    table = np.divide(table, size, out=np.zeros_like(table), where=size > 1e-12 * max(len(table[0]), 1))
    alike = np.minimum(np.abs(table @ table.T), 1.0)
    first = np.flatnonzero(np.diff(owner, prepend=-1))
    alike = np.maximum.reduceat(np.maximum.reduceat(alike, first, axis=0), first, axis=1)
    rounded: Floats = np.round(alike, 12).astype(np.float64, copy=False)  # equal columns tie whatever the order of summation
    return rounded


def _is_float(values: Any) -> bool:
    return isinstance(values, np.ndarray) and values.dtype.kind == "f"
