"""Single Python objects as JSON and back, exactly and without pickle: what stands in object columns, column names and indexes.

Texts, integers, booleans, None and finite floats are JSON's own (a float's shortest decimal reads back to the same bits). Everything
else is ``[tag, payload]``.
"""

from __future__ import annotations

import datetime as dt
import decimal
import math
import struct
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from whybox.errors import InputError


def encode(value: Any, where: str) -> Any:
    """One object as JSON.

    Args:
        value: the object.
        where: what to call its place in a message.

    Raises:
        InputError: there is no form for this type.
    """
    import pandas as pd

    kind = type(value)
    if value is None or kind in (bool, int, str):
        return value
    if kind is float:
        return value if math.isfinite(value) else ["float", struct.pack("<d", value).hex()]
    if value is pd.NA:
        return ["NA", None]
    if value is pd.NaT:
        return ["NaT", None]
    if isinstance(value, (np.datetime64, np.timedelta64, np.bool_, np.number, np.str_)):
        return ["numpy", [value.dtype.str, value.tobytes().hex()]]
    if kind is pd.Timestamp:
        zone = None if value.tzinfo is None else str(value.tzinfo)
        return ["timestamp", [int(value.asm8.astype(np.int64)), value.unit, zone]]
    if kind is pd.Timedelta:
        return ["timedelta", [int(value.asm8.astype(np.int64)), value.unit]]
    if kind is pd.Period:
        return ["period", [value.ordinal, value.freqstr]]
    if kind is pd.Interval:
        return ["interval", [encode(value.left, where), encode(value.right, where), value.closed]]
    for tag, (cls, write, _) in _TEXTS.items():
        if kind is cls:
            return [tag, write(value)]
    if kind in (tuple, list):
        return [kind.__name__, [encode(item, where) for item in value]]
    raise InputError(
        f"{where}: cannot be saved without pickle: it holds a {kind.__module__}.{kind.__qualname__}; "
        "convert the column to text, numbers, dates or categories before explaining"
    )


def decode(value: Any) -> Any:
    """What ``encode`` was given."""
    import pandas as pd

    if not isinstance(value, list):
        return value
    tag, payload = value
    if tag == "float":
        return struct.unpack("<d", bytes.fromhex(payload))[0]
    if tag == "NA":
        return pd.NA
    if tag == "NaT":
        return pd.NaT
    if tag == "numpy":
        dtype = np.dtype(payload[0])
        if dtype.hasobject:
            raise ValueError("an object dtype in a cell")
        return np.frombuffer(bytes.fromhex(payload[1]), dtype=dtype)[0]
    if tag == "timestamp":
        moment = pd.Timestamp(np.datetime64(payload[0], payload[1]))
        return moment if payload[2] is None else moment.tz_localize("UTC").tz_convert(payload[2])
    if tag == "timedelta":
        return pd.Timedelta(np.timedelta64(payload[0], payload[1]))
    if tag == "period":
        return pd.Period(ordinal=payload[0], freq=payload[1])
    if tag == "interval":
        return pd.Interval(decode(payload[0]), decode(payload[1]), closed=payload[2])
    if tag in _TEXTS:
        return _TEXTS[tag][2](payload)
    if tag in ("tuple", "list"):
        items = [decode(item) for item in payload]
        return tuple(items) if tag == "tuple" else items
    raise ValueError(f"unknown cell {tag!r}")


_TEXTS: dict[str, tuple[type, Any, Any]] = {
    "bytes": (bytes, bytes.hex, bytes.fromhex),
    "date": (dt.date, dt.date.isoformat, dt.date.fromisoformat),
    "time": (dt.time, dt.time.isoformat, dt.time.fromisoformat),
    "datetime": (dt.datetime, dt.datetime.isoformat, dt.datetime.fromisoformat),
    "decimal": (decimal.Decimal, str, decimal.Decimal),
    "complex": (complex, repr, complex),
}


def encode_all(values: Iterable[Any], where: str) -> list[Any]:
    """Many objects as JSON."""
    return [encode(value, where) for value in values]


def decode_all(values: list[Any]) -> NDArray[np.object_]:
    """An object array of what ``encode_all`` was given."""
    result = np.empty(len(values), dtype=object)
    for i, value in enumerate(values):  # tuples and lists must not become further axes
        result[i] = decode(value)
    return result
