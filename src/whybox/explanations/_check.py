"""What an Attribution may hold: shapes are checked, arrays are made read-only, and the caller's arrays stay as they are."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from statistics import NormalDist
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from whybox._arrays import is_array, is_frame, is_sparse, is_torch, to_numpy
from whybox.errors import InputError, OptionError, SchemaError, ShapeError
from whybox.typing import Ints


def frozen(array: NDArray[Any]) -> NDArray[Any]:
    """A read-only array: the same one if it is read-only already, else a copy, so that the caller's array stays writable."""
    if not array.flags.writeable:
        return array
    copy = array.copy()
    copy.setflags(write=False)
    return copy


def is_ragged(values: Any) -> bool:
    """Whether every row has features of its own: an object array of arrays, or a list of arrays of different lengths."""
    if isinstance(values, np.ndarray):
        return bool(values.dtype == object)
    return isinstance(values, (list, tuple)) and len({np.shape(row) for row in values}) > 1


def floats(name: str, value: Any) -> NDArray[np.float64]:
    """A read-only float64 array; what cannot become one exactly is refused."""
    array = to_numpy(value) if is_array(value) or is_torch(value) else np.asarray(value)
    if array.dtype.kind not in "fiu" or array.dtype.itemsize > 8:
        raise InputError(f"{name}: expected real numbers, got dtype {array.dtype}; convert it with {name}.astype(float)")
    if array.dtype.kind in "iu" and not np.array_equal(array.astype(np.float64).astype(array.dtype), array):
        raise InputError(f"{name}: integers above 2**53 do not fit into float64; rescale them")
    return frozen(array.astype(np.float64, copy=False))


def rows_of(name: str, value: Any, *, numbers: bool) -> NDArray[np.object_]:
    """A read-only (n,) object array with one read-only array a row, for explanations whose rows have features of their own."""
    result = np.empty(len(value), dtype=object)
    for i, row in enumerate(value):  # one array a row is what ragged means
        result[i] = floats(f"{name}[{i}]", row) if numbers else frozen(_vector(row))
    result.setflags(write=False)
    return result


def _vector(row: Any) -> NDArray[Any]:
    """One row of displayed data; texts stay Python strings, so that nothing is padded or cut."""
    if isinstance(row, np.ndarray):
        return row
    if all(isinstance(cell, (int, float, np.number)) and not isinstance(cell, bool) for cell in row) and len(row):
        return np.asarray(row)
    cells = np.empty(len(row), dtype=object)
    cells[:] = list(row)
    return cells


def reach(level: float) -> float:
    """Half of an interval of this probability, in standard errors.

    Raises:
        OptionError: level is not a probability.
    """
    if not 0 < level < 1:
        raise OptionError(f"level: expected a probability between 0 and 1, got {level!r}; pass for example level=0.95")
    return NormalDist().inv_cdf(0.5 + level / 2)


def same_shape(name: str, value: NDArray[Any], values: NDArray[Any]) -> None:
    """The shape of values, row by row where rows differ."""
    if value.shape != values.shape:
        raise ShapeError(f"{name}: expected the shape of values, {values.shape}, got {value.shape}")
    if values.dtype == object:
        for i, (mine, theirs) in enumerate(zip(value, values, strict=True)):
            if mine.shape != theirs.shape:
                raise ShapeError(f"{name}[{i}]: expected the shape of values[{i}], {theirs.shape}, got {mine.shape}")


def row_numbers(name: str, value: Any, shape: tuple[int, ...]) -> NDArray[np.float64]:
    """One number a row and output, such as base_values."""
    array = floats(name, value)
    if array.shape != shape:
        raise ShapeError(f"{name}: expected shape {shape} (one number for each row and output of values), got {array.shape}")
    return array


def names(name: str, value: Sequence[Any], count: int, what: str) -> tuple[str, ...]:
    """A tuple of names of the right length."""
    if isinstance(value, str):
        raise OptionError(f"{name}: expected a sequence of names, got the string {value!r}; pass ({value!r},)")
    result = tuple(str(item) for item in value)
    if len(result) != count:
        raise ShapeError(f"{name}: expected {count} names, one for each {what} of values, got {len(result)}")
    return result


def displayed(value: Any, n: int, d: int, members: tuple[tuple[int, ...], ...] | None, *, single: bool) -> Any:
    """The data to display: (n, d), or (d,) of a single row. A DataFrame stays one; other arrays come to the host."""
    if value is None:
        return None
    if is_sparse(value):
        raise InputError("data: expected an array or a DataFrame, got a sparse matrix; pass data.toarray()")
    if is_frame(value) or type(value).__module__.split(".")[0] == "pandas":
        shape, data = tuple(value.shape), value.copy()
    else:
        data = frozen(to_numpy(value) if is_array(value) else _vector(value) if single else np.asarray(value))
        shape = data.shape
    axes = 1 if single else 2
    columns = shape[-1] if len(shape) == axes else None
    if members is not None and columns is not None and any(not 0 <= i < columns for group in members for i in group):
        raise ShapeError(f"members: expected positions of columns of data, 0 to {columns - 1}, got {members}")
    expected = ((columns if members is not None else d),) if single else (n, columns if members is not None else d)
    if shape != expected:
        raise ShapeError(f"data: expected shape {expected}, one column for each feature of values, got {shape}")
    return data


def marked(inputs: Any, marks: Any, rows: NDArray[Any] | None) -> dict[str, Any]:
    """Inputs and marks, one a row, read-only; rows are the values, or None for a single row."""
    if inputs is None and marks is None:
        return {}
    if inputs is None or marks is None:
        raise ShapeError("inputs and marks go together: marks say where the features lie in the inputs; pass both or neither")
    if rows is None:
        return {"inputs": _input(inputs), "marks": _mark(marks)}
    if len(inputs) != len(rows) or len(marks) != len(rows):
        raise ShapeError(f"inputs, marks: expected {len(rows)}, one a row, got {len(inputs)} and {len(marks)}")
    return {"inputs": tuple(map(_input, inputs)), "marks": tuple(map(_mark, marks))}


def _input(value: Any) -> Any:
    return value if isinstance(value, str) else frozen(to_numpy(value))


def _mark(value: Any) -> NDArray[Any]:
    array = np.asarray(value)
    if array.ndim != 2 or array.dtype.kind not in "iu":
        raise ShapeError(
            f"marks: expected (d, 2) spans of characters or an (h, w) map of features, integers, got {array.dtype} of shape {array.shape}"
        )
    return frozen(array)


def indices(name: str, value: Any, shape: tuple[int, ...], count: int | None) -> Ints:
    """Which output each row explains."""
    array = np.asarray(value)
    if array.dtype.kind not in "iu":
        raise InputError(f"{name}: expected integers, the position of the explained output of each row, got dtype {array.dtype}")
    if array.shape != shape:
        raise ShapeError(f"{name}: expected shape {shape}, one position a row, got {array.shape}")
    if array.size and (array.min() < 0 or (count is not None and array.max() >= count)):
        raise OptionError(f"{name}: expected positions from 0 to {'k' if count is None else count - 1}, got {array.min()} to {array.max()}")
    return frozen(array.astype(np.int64, copy=False))


def plain_settings(settings: Mapping[str, Any]) -> Mapping[str, Any]:
    """A read-only copy of the settings as JSON gives them back, refused now rather than when a finished job is saved."""
    return MappingProxyType(plain("settings", settings))


def plain(name: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """A copy as JSON gives it back, with lists in the place of tuples: what is saved and loaded is the same."""
    try:
        copy: dict[str, Any] = json.loads(json.dumps(dict(values), default=_number))
    except (TypeError, ValueError) as error:
        raise SchemaError(f"{name}: expected values that JSON can hold (text, numbers, lists, mappings), got {values!r}") from error
    return copy


def _number(value: Any) -> Any:
    if isinstance(value, (np.bool_, np.number)):
        return value.item()
    raise TypeError(type(value).__name__)
