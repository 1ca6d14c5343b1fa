"""What makes two Python objects in a table the same: type and content, never ``==`` alone, and never a shortened repr."""

from __future__ import annotations

import datetime as dt
import decimal
import fractions
import hashlib
import pickle
import uuid
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from whybox.errors import InputError

# Types whose repr says everything. Others may shorten it (an array of a thousand numbers) or leave it out.
_TELLING: frozenset[type] = frozenset(
    {str, bytes, bool, int, float, complex, type(None), decimal.Decimal, fractions.Fraction, uuid.UUID}
    | {dt.date, dt.datetime, dt.time, dt.timedelta}
)
_TELLING_PANDAS = frozenset({"NAType", "NaTType", "Timestamp", "Timedelta", "Period", "Interval"})


def cell_texts(values: Iterable[Any], *, lasting: bool = False) -> NDArray[Any]:
    """(n,) texts of Python objects, equal only for objects of equal type and content: 1, 1.0, True and "1" are four, None and NaN two.

    Args:
        values: n objects.
        lasting: the texts outlive the process, so that an object's address says nothing.

    Raises:
        InputError: a lasting text is asked of an object that can be told apart by its address only.
    """
    return np.array([_cell_text(value, lasting) for value in values], dtype=object)


def _cell_text(value: Any, lasting: bool) -> str:
    kind = type(value)
    if kind in _TELLING or (isinstance(value, np.generic) and value.dtype.kind != "V"):
        return f"{kind.__name__} {value!r}"
    if kind.__name__ in _TELLING_PANDAS and kind.__module__.startswith("pandas"):
        return f"pandas {kind.__name__} {value!r}"
    if kind in (list, tuple):
        return f"{kind.__name__} {[_cell_text(item, lasting) for item in value]}"
    try:
        content = hashlib.sha256(pickle.dumps(value, protocol=5)).hexdigest()
    except Exception as error:  # whatever an object's own way of being pickled raises
        if lasting:
            raise InputError(
                f"rows hold a {kind.__module__}.{kind.__qualname__}, whose content cannot be read, so that answers for it cannot be kept "
                "beyond this call; leave checkpoint= and cache= out, or convert the column"
            ) from error
        content = f"at {id(value)}"
    return f"{kind.__module__}.{kind.__qualname__} {content}"
