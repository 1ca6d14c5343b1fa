"""How the ends of a column's bins are written: numbers with four digits, dates and durations as dates and durations."""

from __future__ import annotations

from typing import Any

import numpy as np

from whybox.typing import Floats

# From a day to a nanosecond: its length in nanoseconds, and how a moment is written to this precision.
_STEPS = (
    (86_400 * 10**9, "%Y-%m-%d"),
    (60 * 10**9, "%Y-%m-%d %H:%M"),
    (10**9, "%Y-%m-%d %H:%M:%S"),
    (10**3, "%Y-%m-%d %H:%M:%S.%f"),
    (1, ""),
)
_UNITS = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}


def moments(values: Any) -> Any:
    """A column as an array of dates or durations, or None where it holds neither."""
    import pandas as pd
    from pandas.api import types

    if values.dtype == object:
        held = pd.api.types.infer_dtype(values, skipna=True) in {"datetime", "date"}
        return pd.to_datetime(pd.Series(values)).array if held else None
    if isinstance(values.dtype, pd.ArrowDtype) and values.dtype.kind in "mM":
        convert: Any = pd.to_datetime if values.dtype.kind == "M" else pd.to_timedelta
        return convert(pd.Series(values.astype(object))).array
    if types.is_datetime64_any_dtype(values.dtype) or values.dtype.kind == "m":
        return pd.array(values) if isinstance(values, np.ndarray) else values
    return None


def edge_texts(edges: Floats, values: Any) -> list[str]:
    """(e,) the ends of bins as texts, precise enough to tell them apart.

    Args:
        edges: (e,) ascending, as numbers.
        values: the column that they are of.
    """
    column = moments(values)
    if column is None:
        return [f"{edge:.4g}" for edge in edges]
    import pandas as pd

    kind = f"{column.dtype.kind}8[{column.unit}]"  # in the column's own unit: nanoseconds would not reach the year 9999
    ends: Any = pd.Index(np.round(edges).astype("int64").view(kind))
    if getattr(column, "tz", None) is not None:
        ends = ends.tz_localize("UTC").tz_convert(column.tz).tz_localize(None)
    numbers = ends.asi8
    held = column.asi8[~column.isna()]
    apart = min([int(held.max()) - int(held.min()), *np.diff(numbers).tolist()])
    sizes = [(max(size // _UNITS[column.unit], 1), form) for size, form in _STEPS]
    size, form = next((size, form) for size, form in sizes if size == 1 or 10 * size <= apart or not (numbers % size).any())
    coarse = (np.spacing(np.abs(edges)) / 2).astype("int64")  # float64 holds nanoseconds since 1970 to about a hundred of them
    ends = pd.Index(((numbers + np.where(coarse < size, coarse, 0)) // size * size).view(kind))
    if column.dtype.kind == "m":
        return [str(end).removesuffix(" 00:00:00").removeprefix("0 days ") for end in ends]
    return [end.strftime(form) if form else str(end) for end in ends]
