"""Rows of any table as numbers that trees can split on.

The surrogate only has to resemble the model, so any encoding is honest: what it loses stays in the residual game and is estimated there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from whybox.errors import SchemaError, ShapeError
from whybox.typing import Floats


@dataclass(frozen=True)
class RowEncoder:
    """Turns rows into (N, d) floats, NaN where missing. Made by :func:`fit_encoder`.

    Args:
        columns: names of the columns of a frame, or None for arrays.
        categories: for each column its levels in the order of their codes, or None if the column is numeric.
        origins: for each column what is subtracted before it becomes a float, so that large integers and dates keep their differences.
    """

    columns: tuple[Any, ...] | None
    categories: tuple[pd.Index | None, ...]
    origins: tuple[Any, ...]

    def encode(self, rows: Any) -> Floats:
        """Rows as floats; levels that were not seen in fitting count as missing.

        Args:
            rows: (N, d) array or DataFrame like the one the encoder was fitted on.

        Raises:
            SchemaError: the columns of the frame are others.
            ShapeError: the array has another number of columns.
        """
        columns = _columns(rows, self.columns)
        if len(columns) != len(self.categories):
            raise ShapeError(f"rows: expected {len(self.categories)} columns, got {len(columns)}")
        out = np.empty((len(columns[0]) if columns else 0, len(columns)))
        for j, (column, levels, origin) in enumerate(zip(columns, self.categories, self.origins, strict=True)):
            out[:, j] = _numbers(column, origin) if levels is None else _codes(column, levels)
        return out


def fit_encoder(rows: Any, outputs: Any = None) -> RowEncoder:
    """Learn how to turn rows into numbers.

    Numbers and dates stay in order; levels of strings and categories are ordered by the mean of the outputs, which is the order in which a
    tree separates them best, or as they come where there are no outputs.

    Args:
        rows: (N, d) array or DataFrame.
        outputs: (N,) or (N, k) model outputs of the rows; the first of k orders the levels.

    Returns:
        The fitted encoder.

    Source:
        Ordering levels by their mean response: Breiman et al., Classification and Regression Trees (1984), section 4.2.

    Example:
        >>> frame = pd.DataFrame({"colour": ["red", "blue", "red", None], "size": [1, 2, 3, 4]})
        >>> fit_encoder(frame, [1.0, 0.0, 1.0, 0.0]).encode(frame).tolist()
        [[1.0, 0.0], [0.0, 1.0], [1.0, 2.0], [nan, 3.0]]
    """
    names = tuple(rows.columns) if isinstance(rows, pd.DataFrame) else None
    columns = _columns(rows, names)
    response = None if outputs is None else np.asarray(outputs, dtype=np.float64).reshape(len(columns[0]), -1)[:, 0]
    numeric = [_is_ordered(column) for column in columns]
    levels = tuple(None if is_number else _levels(column, response) for column, is_number in zip(columns, numeric, strict=True))
    origins = tuple(_origin(column) if is_number else None for column, is_number in zip(columns, numeric, strict=True))
    return RowEncoder(names, levels, origins)


def _columns(rows: Any, names: tuple[Any, ...] | None) -> list[pd.Series]:
    if isinstance(rows, pd.DataFrame):
        if names is not None and tuple(rows.columns) != names:
            raise SchemaError(f"rows: expected the columns {list(names)}, got {list(rows.columns)}; select them in this order")
        return [rows.iloc[:, j] for j in range(rows.shape[1])]
    array = np.asarray(rows)
    if array.ndim != 2:
        raise ShapeError(f"rows: expected two axes, (N, d), got shape {array.shape}")
    return [pd.Series(array[:, j]).infer_objects() if array.dtype == object else pd.Series(array[:, j]) for j in range(array.shape[1])]


def _is_ordered(column: pd.Series) -> bool:
    kind = column.dtype
    if isinstance(kind, pd.CategoricalDtype) or pd.api.types.is_complex_dtype(kind):
        return False
    is_time = pd.api.types.is_datetime64_any_dtype(kind) or pd.api.types.is_timedelta64_dtype(kind)
    return bool(pd.api.types.is_numeric_dtype(kind) or pd.api.types.is_bool_dtype(kind) or is_time)


def _origin(column: pd.Series) -> Any:
    present = column.dropna()
    if pd.api.types.is_float_dtype(column.dtype) or pd.api.types.is_bool_dtype(column.dtype) or not len(present):
        return None
    return present.min()


def _numbers(column: pd.Series, origin: Any) -> Floats:
    if not _is_ordered(column):
        raise SchemaError(f"rows: expected numbers or dates in column {column.name!r}, got {column.dtype}")
    shifted: Any = column
    if origin is not None:
        exact = pd.api.types.is_integer_dtype(column.dtype) and isinstance(column.dtype, np.dtype)
        # Unsigned differences wrap: Python's own integers cannot, and only wide unsigned columns need them.
        shifted = column.astype(object) - int(origin) if exact and column.dtype.kind == "u" else column - origin
    if pd.api.types.is_timedelta64_dtype(shifted.dtype):
        shifted = shifted / pd.Timedelta(seconds=1)
    return np.asarray(shifted.to_numpy(dtype=np.float64, na_value=np.nan))


def _texts(column: pd.Series) -> pd.Series:
    """Levels as hashable texts, missing values kept missing; the type stands in the text so that 1 and "1" stay apart."""
    objects = column.astype(object)
    return objects.where(objects.isna(), objects.map(lambda value: f"{type(value).__name__}:{value}", na_action="ignore"))


def _levels(column: pd.Series, response: Floats | None) -> pd.Index:
    texts = _texts(column)
    levels: Any = texts.dropna().unique()
    if response is not None:
        means = pd.Series(response).groupby(texts.to_numpy(dtype=object), sort=True).mean()
        levels = means.sort_values(kind="stable").index
    found: pd.Index = pd.Index(levels, dtype=object)
    return found


def _codes(column: pd.Series, levels: pd.Index) -> Floats:
    codes = levels.get_indexer(pd.Index(_texts(column), dtype=object)).astype(np.float64)
    return np.where(codes < 0, np.nan, codes)
