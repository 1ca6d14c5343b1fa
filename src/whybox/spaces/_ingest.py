"""What may come in as rows, and how the explained rows and the background are matched: by name, exactly, or refused."""

from __future__ import annotations

from typing import Any

import numpy as np

from whybox._arrays import is_array, is_frame, is_numpy, is_series, is_sparse, namespace, promote
from whybox.errors import InputError, SchemaError, ShapeError
from whybox.spaces._array_columns import ArrayColumns, same_dtype
from whybox.spaces._columns import Columns
from whybox.spaces._frame_columns import FrameColumns
from whybox.typing import Model, Rows

_OF_TABLES = "__dataframe__", "__arrow_c_stream__", "columns", "column_names"  # of polars, pyarrow, modin, dask: tables with names


def as_rows(rows: Any, what: str) -> Rows:
    """A DataFrame or a 2-d array with at least one row and one column.

    Raises:
        InputError: empty, sparse, a table of another library than pandas, or no rows at all.
        ShapeError: one-dimensional, or more than two axes.
    """
    if rows is None:
        raise InputError(f"{what}: expected a DataFrame or an array (rows, features), got None; pass for example training rows")
    if is_series(rows):
        raise ShapeError(f"{what}: expected 2 axes (rows, features), got a Series; for a single row pass X.iloc[[0]], not X.iloc[0]")
    if isinstance(rows, (list, tuple)) and any(isinstance(row, dict) for row in rows):
        raise InputError(f"{what}: expected a DataFrame or an array (rows, features), got a list of dicts; pass pandas.DataFrame({what})")
    if isinstance(rows, (list, tuple)) and not len(rows):
        raise InputError(f"{what}: has no rows; expected at least one")
    if is_sparse(rows):
        raise InputError(f"{what}: sparse matrices are not supported; pass {what}.toarray()")
    if not (is_frame(rows) or is_array(rows)):
        if not isinstance(rows, (list, tuple)) and not hasattr(rows, "__array__"):
            raise InputError(f"{what}: expected a DataFrame or an array (rows, features), got {type(rows).__name__}")
        if any(hasattr(rows, name) for name in _OF_TABLES):
            kind = f"{type(rows).__module__.partition('.')[0]}.{type(rows).__name__}"
            raise InputError(
                f"{what}: expected a pandas DataFrame or an array (rows, features), got {kind}, "
                f"and its column names would be lost; pass {what}.to_pandas(). The model is called with pandas DataFrames, too: pass one "
                "that takes other tables as a function that converts them"
            )
        try:
            rows = _from_list(rows)
        except ValueError as exc:
            raise ShapeError(f"{what}: the rows have different lengths; every row needs the same features") from exc
    if isinstance(rows, np.ma.MaskedArray) and np.ma.is_masked(rows):
        raise InputError(f"{what}: has masked values, which only masked arrays know; fill them, for example {what}.filled(np.nan)")
    shape = tuple(rows.shape)
    if len(shape) == 1:
        raise ShapeError(
            f"{what}: expected 2 axes (rows, features), got shape {shape}; for a single row pass {what}[None, :] or a list of one row"
        )
    if len(shape) != 2:
        raise ShapeError(f"{what}: expected 2 axes (rows, features), got shape {shape}")
    if shape[0] == 0:
        raise InputError(f"{what}: has no rows; expected at least one")
    if shape[1] == 0:
        raise InputError(f"{what}: has no columns; expected at least one feature")
    return np.asarray(rows) if is_numpy(rows) else rows  # a np.matrix or masked subclass would change what where() does


def _from_list(rows: Any) -> Any:
    """Lists as an array that holds every cell as it is: NumPy makes numbers beside text text, and rounds 2**53 + 1 beside 0.5."""
    array = np.asarray(rows)
    if not isinstance(rows, (list, tuple)) or array.dtype == object:
        return array
    cells = np.asarray(rows, dtype=object)
    as_they_are = (array.astype(object) == cells) | ((array != array) & (cells != cells))  # NaN
    return array if array.shape == cells.shape and bool(np.all(as_they_are)) else cells


def join(x: Any, background: Any, model: Model) -> tuple[Columns, tuple[str, ...]]:
    """Match explained and background rows.

    Args:
        x: (n, d) rows to explain.
        background: (b, d) reference rows.
        model: its ``place`` and ``feature_names`` are honoured.

    Returns:
        The columns, and the feature names.

    Raises:
        SchemaError: columns, dtypes or categories do not match.
        InputError: empty, sparse or not tabular.
    """
    x, background = as_rows(x, "x"), as_rows(background, "background")
    if is_frame(x) != is_frame(background):
        named, bare = ("x", "background") if is_frame(x) else ("background", "x")
        raise SchemaError(
            f"{named} is a DataFrame and {bare} an array without column names, so columns cannot be matched; pass both as DataFrames "
            "or both as arrays"
        )
    if is_frame(x):
        return _join_frames(x, background, model)
    if x.shape[1] != background.shape[1]:
        raise SchemaError(f"x has {x.shape[1]} features and background {background.shape[1]}; both need the model's features, in order")
    names = model.feature_names if model.feature_names is not None else tuple(f"feature {j}" for j in range(x.shape[1]))
    if model.feature_names is not None and len(names) != x.shape[1]:
        raise SchemaError(f"{model.name} was trained on {len(names)} features, x has {x.shape[1]}")
    if is_numpy(x) and is_numpy(background):
        columns = same_dtype(x, background)
        if model.wants_frame and model.feature_names is not None:
            import pandas as pd

            kept: Any = object if columns.x.dtype == object else None  # which pandas would else look into, in each of both for itself
            return FrameColumns(*(pd.DataFrame(part, columns=list(names), dtype=kept) for part in (columns.x, columns.background))), names
        if model.place is not None:
            columns = ArrayColumns(model.place(columns.x), model.place(columns.background))
        return columns, names
    if model.place is not None:
        x, background = model.place(x), model.place(background)
    if type(x) is not type(background):
        raise SchemaError(
            f"x is a {type(x).__module__} array and background a {type(background).__module__} array; pass both in one library"
        )
    if x.dtype != background.dtype:
        raise SchemaError(f"x has dtype {x.dtype} and background {background.dtype}; convert one of them, each to what the model takes")
    if getattr(x, "device", None) != getattr(background, "device", None):
        raise SchemaError(f"x is on {x.device} and background on {background.device}; move both to one device")
    if getattr(x, "requires_grad", False) or getattr(background, "requires_grad", False):
        x, background = x.detach(), background.detach()
    namespace(x)
    return ArrayColumns(x, background), names


def _join_frames(x: Any, background: Any, model: Model) -> tuple[Columns, tuple[str, ...]]:
    for what, frame in (("x", x), ("background", background)):
        if not frame.columns.is_unique:
            raise SchemaError(f"{what}: column names repeat: {frame.columns[frame.columns.duplicated()].tolist()[:5]}")
    order = list(background.columns)
    if set(x.columns) != set(order):
        missing, extra = [c for c in order if c not in set(x.columns)], [c for c in x.columns if c not in set(order)]
        raise SchemaError(f"x and background have other columns: x lacks {missing[:5]}, and has {extra[:5]} that background lacks")
    if model.feature_names is not None and set(model.feature_names) == set(map(str, order)):
        by_name = {str(c): c for c in order}
        order = [by_name[name] for name in model.feature_names]
    x, background = [(part if list(part.columns) == order else part[order]).copy(deep=False) for part in (x, background)]
    for column in order:
        if not _same_dtype(x[column].dtype, background[column].dtype):
            x[column], background[column] = _join_column(x[column], background[column])
    return FrameColumns(x.reset_index(drop=True), background.reset_index(drop=True)), tuple(map(str, order))


def _same_dtype(one: Any, other: Any) -> bool:
    """Whether dtypes are equal, codes of categories included: pandas calls categories equal whose order differs."""
    if one != other:
        return False
    return not hasattr(one, "categories") or list(one.categories) == list(other.categories)


def _join_column(x: Any, background: Any) -> tuple[Any, Any]:
    import pandas as pd
    from pandas.api import types

    name, kinds = x.name, (x.dtype, background.dtype)
    if isinstance(background.dtype, pd.CategoricalDtype):
        known = background.dtype.categories
        values = x.astype(object) if isinstance(x.dtype, pd.CategoricalDtype) else x
        unseen = [v for v in values.dropna().unique().tolist() if v not in known]
        if unseen:
            raise SchemaError(
                f"column {name!r}: categories {unseen[:5]} of x are not among the background's {list(known)[:10]}; set a dtype "
                "that holds all of them on both, as the model was trained with"
            )
        return values.astype(background.dtype), background
    if all(isinstance(kind, np.dtype) and kind.kind in "biuf" for kind in kinds):
        a, b = promote(x.to_numpy(), background.to_numpy(), f"column {name!r} of x and background")
        return pd.Series(a, index=x.index, name=name), pd.Series(b, index=background.index, name=name)
    if all(types.is_string_dtype(kind) or types.is_object_dtype(kind) for kind in kinds):
        return x.astype(object), background.astype(object)
    raise SchemaError(
        f"column {name!r}: x has dtype {kinds[0]} and background {kinds[1]}; convert one of them, each to what the model takes"
    )
