"""One column of a neighbourhood: its levels (quantile bins or categories), how often each occurs, and how values are drawn inside one."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from whybox._cells import cell_texts
from whybox.errors import InputError, OptionError, SchemaError
from whybox.spaces._columns import cell_codes
from whybox.spaces._edge_texts import edge_texts, moments
from whybox.typing import Bools, Floats, Ints

Discretize = str | int
_NAMED = {"quartile": 4, "decile": 10}


@dataclass(frozen=True)
class Column:
    """The levels of a column.

    Args:
        x_level: (n,) level of each explained row.
        share: (c,) share of the background's rows in each level; they add up to 1.
        order: (b,) background rows sorted by level: a uniform number picks a background value. Not used by drawn levels.
        level_of: (b,) level of each position of ``order``.
        spread: (c, 4) mean, standard deviation, lowest and highest value of each level, where values are drawn from a truncated normal;
            None where they are taken from the background.
        texts: (c,) what each level says about a value, or None for categories.
        edges: (e,) where bins end, or None for categories; level e is above the last, level e + 1 holds missing values.
    """

    x_level: Ints
    share: Floats
    order: Ints
    level_of: Ints
    spread: Floats | None
    texts: tuple[str, ...] | None
    edges: Floats | None = None


def bin_shares(discretize: Discretize) -> Floats:
    """Percentages at which bins end.

    Raises:
        OptionError: not "quartile", "decile" or a whole number of at least 2.
    """
    bins = _NAMED.get(discretize) if isinstance(discretize, str) else discretize
    if isinstance(bins, bool) or not isinstance(bins, (int, np.integer)) or bins < 2:
        raise OptionError(f'discretize: expected "quartile", "decile" or a whole number of bins of at least 2, got {discretize!r}')
    return np.asarray(np.arange(1, int(bins)) * (100.0 / int(bins)), dtype=np.float64)


def column_positions(chosen: Sequence[int | str], names: tuple[str, ...], what: str) -> set[int]:
    """Positions of columns that a user names or numbers.

    Raises:
        OptionError: there is no such column.
    """
    if odd := [c for c in chosen if isinstance(c, (bool, np.bool_)) or not isinstance(c, (str, int, np.integer))]:
        raise OptionError(f"{what}: expected positions or names of columns, got {odd[:5]}; for a mask pass numpy.flatnonzero(mask)")
    found = {names.index(c) if isinstance(c, str) and c in names else c for c in chosen}
    unknown = [c for c in found if isinstance(c, str) or not 0 <= c < len(names)]
    if unknown:
        raise OptionError(f"{what}: {unknown} are no columns; expected positions below {len(names)} or names of {list(names)[:10]}")
    return {int(c) for c in found}


def is_ordered(values: Any) -> bool:
    """Whether a column holds numbers, dates or durations: something that bins make sense for."""
    import pandas as pd
    from pandas.api import types

    if values.dtype == object:
        return pd.api.types.infer_dtype(values, skipna=True) in {
            "integer",
            "floating",
            "mixed-integer-float",
            "decimal",
            "datetime",
            "date",
        }
    if isinstance(values.dtype, pd.CategoricalDtype) or types.is_bool_dtype(values.dtype):
        return False
    return bool(types.is_numeric_dtype(values.dtype) or types.is_datetime64_any_dtype(values.dtype) or values.dtype.kind == "m")


def as_numbers(values: Any, name: str) -> tuple[Floats, Bools]:
    """An ordered column as float64 and where it is missing.

    Raises:
        InputError: infinite or complex values.
    """
    import pandas as pd

    if getattr(values.dtype, "kind", "") == "c":
        raise InputError(f"column {name!r}: complex numbers have no order, so no bins; split them into two columns")
    missing = np.asarray(pd.isna(values), dtype=bool)
    if (found := moments(values)) is not None:
        numbers = np.asarray(found.asi8, dtype=np.float64)
    else:
        numbers = (
            np.array([np.nan if gone else float(v) for v, gone in zip(values, missing, strict=True)])
            if (values.dtype == object)
            else np.asarray(values.to_numpy(np.float64, na_value=np.nan) if hasattr(values, "to_numpy") else values, dtype=np.float64)
        )
    numbers = np.where(missing, np.nan, numbers)
    if np.isinf(numbers).any():
        raise InputError(f"column {name!r}: infinite values have no neighbourhood; replace them by a large finite value or by missing")
    return numbers, missing


def ordered_column(both: Any, n: int, name: str, shares: Floats) -> Column:
    """Quantile bins; missing values are a level of their own, the last.

    Bin edges are the background's percentiles, made unique; a value on an edge belongs to the lower bin, as in lime. Float columns
    are drawn from a normal truncated to the bin, with the bin's mean and standard deviation (lime's rule); integers and dates are taken
    from the background's values of the bin, so that no fractional value is invented.

    Args:
        both: n explained values, then the background's.
        n: explained rows.
        name: for messages and texts.
        shares: percentages at which bins end.
    """
    numbers, missing = as_numbers(both, name)
    back, gone = numbers[n:], missing[n:]
    there = back[~gone]
    if not len(there):
        return _coded(missing.astype(np.int64), n, name, both)
    edges = np.unique(np.percentile(there, shares))
    levels = np.where(missing, len(edges) + 1, np.searchsorted(edges, numbers))
    ends = edge_texts(edges, both)
    plain = [f"{name} <= {ends[0]}", *(f"{a} < {name} <= {b}" for a, b in itertools.pairwise(ends))]
    texts = (*plain, f"{name} > {ends[-1]}", f"{name} is missing")
    column = replace(_coded(levels, n, name, both, texts), edges=edges)
    drawn = both.dtype.kind == "f" if isinstance(both.dtype, np.dtype) else str(both.dtype).startswith("Float")
    if not drawn:
        return column
    spread = np.zeros((len(edges) + 2, 4))
    for level in range(len(edges) + 1):
        inside = there[np.searchsorted(edges, there) == level]
        low = edges[level - 1] if level else there.min()
        high = edges[level] if level < len(edges) else there.max()
        spread[level] = (inside.mean(), inside.std() + 1e-11, low, high) if len(inside) else (low, 1e-11, low, high)
    spread[-1] = np.nan, 1.0, np.nan, np.nan
    return replace(column, spread=spread)


def category_column(both: Any, n: int, name: str) -> Column:
    """Every value is a level; missing is one too. Levels are counted as they come in the background, whatever rows are explained."""
    import pandas as pd

    if both.dtype == object:
        missing = np.array([pd.api.types.is_scalar(v) and bool(pd.isna(v)) for v in both])
        both = cell_texts(both)
        both[missing] = None
    background_first = both.take(np.roll(np.arange(len(both)), -n))
    try:
        levels = pd.factorize(background_first, use_na_sentinel=False)[0]
    except (TypeError, NotImplementedError):  # what has no hash
        levels = cell_codes(background_first)
    return _coded(np.roll(np.asarray(levels, dtype=np.int64), n), n, name, both)


def _coded(levels: Ints, n: int, name: str, both: Any, texts: tuple[str, ...] | None = None) -> Column:
    """Levels with their shares. Where there are texts, these are bins, and only the last, missing, has to occur in the background."""
    levels = np.asarray(levels, dtype=np.int64)
    x_level, back = levels[:n], levels[n:]
    needed = np.ones(n, dtype=bool) if texts is None else x_level == len(texts) - 1
    unseen = np.flatnonzero(needed & ~np.isin(x_level, back))
    if len(unseen):
        values = list(dict.fromkeys(repr(both[i]) for i in unseen[:5].tolist()))
        raise SchemaError(
            f"column {name!r}: {', '.join(values)} of x does not occur in the background, from which the neighbourhood is drawn, so its "
            "effect cannot be seen; add rows with it to the background"
        )
    share = np.bincount(back, minlength=0 if texts is None else len(texts)) / len(back)
    order = np.argsort(back, kind="stable")
    return Column(x_level, share, order, back[order], None, texts)


def stack_levels(columns: list[Column]) -> tuple[Floats, NDArray[np.int64]]:
    """(d, c) shares, padded with zeros, and (n, d) levels of the explained rows."""
    width = max(len(column.share) for column in columns)
    share = np.zeros((len(columns), width))
    for j, column in enumerate(columns):
        share[j, : len(column.share)] = column.share
    return share, np.stack([column.x_level for column in columns], axis=1)
