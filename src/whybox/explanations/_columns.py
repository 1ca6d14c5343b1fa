"""Arrays and DataFrames as named npy arrays plus JSON, and back: dtypes, categories, missing values and the index included."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from whybox.errors import InputError, MissingDependencyError
from whybox.explanations._cells import decode, decode_all, encode, encode_all

if TYPE_CHECKING:
    import pandas as pd

Arrays = dict[str, NDArray[Any]]


def pack(value: Any, name: str, arrays: Arrays) -> Any:
    """Describe a value in JSON, and put the arrays that it consists of into ``arrays`` under names that start with ``name``."""
    if value is None:
        return {"kind": "none"}
    if isinstance(value, np.ndarray):
        return _pack_array(value, name, arrays)
    if value.ndim == 1:  # the data of a single row of a DataFrame
        return {
            "kind": "series",
            "name": encode(value.name, name),
            "index": _pack_index(value.index, f"{name}/index", arrays),
            "cells": _pack_column(value, f"{name}/cells", arrays),
        }
    columns = [_pack_column(value.iloc[:, j], f"{name}/{j}", arrays) for j in range(value.shape[1])]
    return {
        "kind": "frame",
        "columns": columns,
        "names": _pack_index(value.columns, f"{name}/columns", arrays),
        "index": _pack_index(value.index, f"{name}/index", arrays),
    }


def unpack(note: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> Any:
    """The value that ``pack`` described."""
    import pandas as pd

    kind = note["kind"]
    if kind == "none":
        return None
    if kind in ("npy", "objects", "texts", "ragged", "rows"):
        return _unpack_array(note, arrays)
    index = _unpack_index(note["index"], arrays)
    if kind == "series":
        return _series(_unpack_column(note["cells"], arrays), index).rename(decode(note["name"]))
    if kind != "frame":
        raise ValueError(f"unknown kind of data {kind!r}")
    columns = [_series(_unpack_column(column, arrays), index) for column in note["columns"]]
    frame = pd.DataFrame(dict(enumerate(columns)), index=index)
    frame.columns = _unpack_index(note["names"], arrays)
    return frame


def _pack_array(value: NDArray[Any], name: str, arrays: Arrays) -> dict[str, Any]:
    if value.dtype.kind == "T":  # NumPy's variable-width strings have no npy form
        cells: Any = [str(cell) for cell in value.ravel()]
        return {"kind": "texts", "cells": cells, "shape": list(value.shape)}
    if not value.dtype.hasobject:
        arrays[name] = value
        return {"kind": "npy", "array": name}
    if value.ndim == 1 and len(value) and all(isinstance(row, np.ndarray) for row in value):
        sizes = np.array([len(row) for row in value], dtype=np.int64)
        if len({(row.dtype, row.shape[1:]) for row in value}) == 1:
            arrays[f"{name}/sizes"] = sizes
            return {"kind": "ragged", "sizes": f"{name}/sizes", "flat": _pack_array(np.concatenate(value), name, arrays)}
        return {"kind": "rows", "rows": [_pack_array(row, f"{name}/{i}", arrays) for i, row in enumerate(value)]}
    return {"kind": "objects", "cells": encode_all(value.ravel(), name), "shape": list(value.shape)}


def _unpack_array(note: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> NDArray[Any]:
    if note["kind"] == "npy":
        return arrays[note["array"]]
    if note["kind"] == "texts":
        return np.array(note["cells"], dtype=np.dtypes.StringDType()).reshape(note["shape"])
    if note["kind"] in ("ragged", "rows"):
        if note["kind"] == "rows":
            parts = [_unpack_array(row, arrays) for row in note["rows"]]
        else:
            parts = np.split(_unpack_array(note["flat"], arrays), np.cumsum(arrays[note["sizes"]])[:-1])
        rows = np.empty(len(parts), dtype=object)
        for i, part in enumerate(parts):  # assignment in one go would stack rows of equal length
            rows[i] = part
        return rows
    return decode_all(note["cells"]).reshape(note["shape"])


def _pack_index(index: Any, name: str, arrays: Arrays) -> dict[str, Any]:
    import pandas as pd

    names = encode_all(index.names, name)
    if isinstance(index, pd.RangeIndex):
        return {"kind": "range", "range": [index.start, index.stop, index.step], "names": names}
    levels = range(index.nlevels)
    parts = [_pack_column(index.get_level_values(i).to_series(), f"{name}/{i}", arrays) for i in levels]
    return {"kind": "multi" if isinstance(index, pd.MultiIndex) else "plain", "levels": parts, "names": names}


def _unpack_index(note: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> Any:
    import pandas as pd

    names = [decode(name) for name in note["names"]]
    if note["kind"] == "range":
        start, stop, step = note["range"]
        return pd.RangeIndex(start, stop, step, name=names[0])
    levels = [_unpack_column(level, arrays) for level in note["levels"]]
    if note["kind"] == "multi":
        return pd.MultiIndex.from_arrays(levels, names=names)
    return pd.Index(levels[0], name=names[0], dtype=_kept(levels[0]))


def _series(values: Any, index: Any) -> pd.Series[Any]:
    import pandas as pd

    column: pd.Series[Any] = pd.Series(values, index=index, dtype=_kept(values))
    return column


def _kept(values: Any) -> Any:
    """Objects stay objects: left alone, pandas would make texts of them where it can."""
    return object if isinstance(values, np.ndarray) and values.dtype == object else None


def _pack_column(column: pd.Series[Any], name: str, arrays: Arrays) -> dict[str, Any]:
    """One column; what a dtype needs beyond its numbers goes into the note."""
    import pandas as pd

    dtype: Any = column.dtype
    note: dict[str, Any] = {"dtype": str(dtype), "array": name}
    if isinstance(dtype, np.dtype):
        if dtype.hasobject:
            return {"kind": "object", "cells": encode_all(column, f"data column {column.name!r}")}
        arrays[name] = column.to_numpy()
        return note | {"kind": "numpy"}
    if isinstance(dtype, pd.StringDtype):
        missing = column.isna().to_numpy()
        cells = [None if gone else str(cell) for cell, gone in zip(column, missing, strict=True)]
        return {"kind": "string", "cells": cells, "storage": dtype.storage.removesuffix("_numpy"), "nan": dtype.na_value is not pd.NA}
    if isinstance(dtype, pd.CategoricalDtype):
        arrays[name] = column.cat.codes.to_numpy()
        categories = _pack_column(dtype.categories.to_series(), f"{name}/categories", arrays)
        return {"kind": "category", "array": name, "categories": categories, "ordered": bool(dtype.ordered)}
    if isinstance(dtype, pd.DatetimeTZDtype):
        arrays[name] = column.dt.tz_convert("UTC").dt.tz_localize(None).to_numpy()
        return {"kind": "zoned", "array": name, "zone": str(dtype.tz)}
    if isinstance(dtype, pd.PeriodDtype):
        arrays[name] = pd.PeriodIndex(column).asi8
        return {"kind": "period", "array": name, "freq": pd.PeriodIndex(column).freqstr}
    if isinstance(dtype, pd.IntervalDtype):
        ends = pd.IntervalIndex(column.array)
        parts = [_pack_column(end.to_series(), f"{name}/{i}", arrays) for i, end in enumerate((ends.left, ends.right))]
        return {"kind": "interval", "ends": parts, "closed": ends.closed}
    if isinstance(dtype, pd.ArrowDtype):
        arrays[name] = _arrow_bytes(column)
        return {"kind": "arrow", "array": name}
    if isinstance(dtype, pd.SparseDtype):
        accessor: Any = column.sparse  # the stubs do not know it
        dense = _pack_column(accessor.to_dense(), f"{name}/dense", arrays)
        return {"kind": "sparse", "dense": dense, "fill": encode(dtype.fill_value, f"data column {column.name!r}")}
    inner = getattr(dtype, "numpy_dtype", None)
    if inner is None or inner.kind not in "biuf":
        raise InputError(f"data column {column.name!r}: dtype {dtype} has no form in the file; convert it with astype before explaining")
    missing = column.isna().to_numpy()
    arrays[f"{name}/missing"] = missing
    arrays[name] = column.to_numpy(dtype=inner, na_value=inner.type(0))
    return note | {"kind": "masked"}


def _unpack_column(note: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> Any:
    """An array that pandas puts into a column as it is."""
    import pandas as pd

    kind = note["kind"]
    if kind == "object":
        return decode_all(note["cells"])
    if kind == "numpy":
        return arrays[note["array"]].copy()
    if kind == "category":
        labels = _unpack_column(note["categories"], arrays)
        categories = pd.Index(labels, dtype=_kept(labels))
        return pd.Categorical.from_codes(arrays[note["array"]], categories=categories, ordered=note["ordered"])
    if kind == "arrow":
        return _from_arrow_bytes(arrays[note["array"]])
    if kind == "sparse":
        return pd.arrays.SparseArray(_unpack_column(note["dense"], arrays), fill_value=decode(note["fill"]))
    if kind == "string":
        return pd.array(note["cells"], dtype=_string_dtype(note["storage"], nan=note["nan"]))
    if kind == "zoned":
        return pd.Series(arrays[note["array"]]).dt.tz_localize("UTC").dt.tz_convert(note["zone"]).array
    if kind == "period":
        periods: Any = pd.PeriodIndex  # the stubs lack from_ordinals
        return periods.from_ordinals(arrays[note["array"]], freq=note["freq"]).array
    if kind == "interval":
        left, right = (_unpack_column(end, arrays) for end in note["ends"])
        return pd.arrays.IntervalArray.from_arrays(pd.Index(left), pd.Index(right), closed=note["closed"])
    if kind == "masked":
        values = pd.Series(arrays[note["array"]].copy()).astype(note["dtype"])
        values[arrays[note["array"] + "/missing"]] = pd.NA
        return values.array
    raise ValueError(f"unknown kind of column {kind!r}")


def _string_dtype(storage: str, *, nan: bool) -> Any:
    """pandas' dtype of strings whose missing values are NaN or NA; before pandas 2.3 those with NaN had a storage of their own."""
    import pandas as pd

    if "na_value" in inspect.signature(pd.StringDtype).parameters:
        return pd.StringDtype(storage, na_value=np.nan if nan else pd.NA)
    return pd.StringDtype("pyarrow_numpy" if nan else storage)


def _arrow_bytes(column: pd.Series[Any]) -> NDArray[np.uint8]:
    """A column of Arrow's types as an Arrow stream."""
    import pyarrow as pa

    table = pa.table({"c": pa.array(column)})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as stream:
        stream.write_table(table)
    return np.frombuffer(sink.getvalue(), dtype=np.uint8)


def _from_arrow_bytes(stored: NDArray[Any]) -> Any:
    """What ``_arrow_bytes`` wrote, as an array of pandas; checked, because whoever reads a file may not be who wrote it."""
    import pandas as pd

    try:
        import pyarrow as pa
    except ImportError as error:
        raise MissingDependencyError("pyarrow", "parquet", "a column of Arrow's types") from error
    table = pa.ipc.open_stream(pa.py_buffer(stored.tobytes())).read_all()
    table.validate(full=True)
    column = table.column("c")
    return pd.Series(column, dtype=pd.ArrowDtype(column.type)).array
