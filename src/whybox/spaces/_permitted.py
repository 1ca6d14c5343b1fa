"""Which values of a column a counterfactual may take."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from whybox.errors import OptionError, SchemaError
from whybox.spaces._levels import as_numbers, is_ordered
from whybox.typing import Bools, Floats

_DIRECTIONS = {"increase": 1, "decrease": -1}


@dataclass(frozen=True)
class Permitted:
    """What a rule permits.

    Args:
        values: (b,) which background values are permitted.
        direction: 1 or -1 where only larger or only smaller ones than the row's own are, else 0.
    """

    values: Bools
    direction: int = 0


def numbers_of(both: Any, n: int, name: str) -> Floats | None:
    """A column as numbers that keep its order, NaN where missing; None for a category without order: the background says which.

    Args:
        both: n explained values, then the background's.
        n: explained rows.
        name: of the column.

    Raises:
        SchemaError: the background has an order, and a value of x has no place in it.
    """
    import pandas as pd

    if isinstance(both.dtype, pd.CategoricalDtype):
        codes = np.asarray(pd.Series(both).cat.codes, dtype=np.float64)
        return np.where(codes < 0, np.nan, codes) if both.dtype.ordered else None
    if not is_ordered(both[n:]):
        return None
    if not is_ordered(both):
        raise SchemaError(
            f"column {name!r}: the background holds numbers or dates, and x something else; convert it, or name it in categorical="
        )
    return as_numbers(both, name)[0]


def permitted(values: Any, rule: Any, name: str, ordered: bool) -> Permitted:
    """What a rule permits.

    Args:
        values: (b,) the background's column.
        rule: "increase", "decrease", (low, high), or a collection of values.
        name: of the column.
        ordered: whether the column's values have an order.

    Raises:
        OptionError: it is no such rule, or no background value meets it.
    """
    import pandas as pd

    told = f"permitted_range[{name!r}]"
    there: Any = pd.Series(values).reset_index(drop=True)
    present = ~np.asarray(there.isna(), dtype=bool)
    if isinstance(rule, str):
        if rule not in _DIRECTIONS:
            raise OptionError(f'{told}: expected "increase", "decrease", a range (low, high) or a set of values, got {rule!r}')
        if not ordered:
            raise OptionError(f"{told}: categories have no order to {rule} in; pass the values that are permitted, as a set")
        return Permitted(present, _DIRECTIONS[rule])
    if ordered and isinstance(rule, list):
        raise OptionError(f"{told}: {rule!r} may be a range or single values; pass a tuple (low, high) for a range, a set for values")
    if ordered and isinstance(rule, tuple):
        return Permitted(_within(there, present, rule, told))
    if not isinstance(rule, (set, frozenset, list, tuple)) or not len(rule):
        raise OptionError(f'{told}: expected "increase", "decrease", a range (low, high) or a set of values, got {rule!r}')
    known = set(there[present].tolist())
    if unknown := [value for value in rule if value not in known]:
        few = sorted(map(str, known))[:10]
        raise OptionError(f"{told}: {unknown[:5]} occur in no background row, from which values are taken; it has {few}")
    return Permitted(np.asarray(there.isin(list(rule)), dtype=bool))


def _within(there: Any, present: Bools, rule: tuple[Any, ...], told: str) -> Bools:
    if len(rule) != 2 or rule == (None, None):
        raise OptionError(f"{told}: expected a range (low, high), of which one may be None, got {rule!r}")
    low, high = rule
    inside = present.copy()
    try:
        for end, bound in (("low", low), ("high", high)):
            if bound is not None:
                met = there[present] >= bound if end == "low" else there[present] <= bound
                inside[present] &= np.asarray(met, dtype=bool)
    except TypeError as error:
        raise OptionError(f"{told}: {rule!r} cannot be compared with the column's values, such as {there[present].iloc[0]!r}") from error
    if not inside.any():
        raise OptionError(f"{told}: no background row, from which values are taken, has a value between {low!r} and {high!r}")
    return inside
