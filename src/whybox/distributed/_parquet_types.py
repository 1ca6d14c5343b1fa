"""One type a column, whatever a Parquet file, a row group or a batch of it happens to hold."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from whybox.distributed._shards import arrow
from whybox.errors import SchemaError


def one_schema(files: Sequence[Path], opened: Sequence[Any]) -> Any:
    """Columns of the first file, each with the type that it has in all files that hold a value in it.

    Args:
        files: paths.
        opened: the same, opened.

    Raises:
        SchemaError: files have other columns than the first, or a column has values of two types.
    """
    schema = opened[0].schema_arrow
    for file, there in zip(files, opened, strict=True):
        names = there.schema_arrow.names
        if set(names) != set(schema.names):
            lacks, has = sorted(set(schema.names) - set(names)), sorted(set(names) - set(schema.names))
            raise SchemaError(f"data: {file} lacks the columns {lacks[:5]} of {files[0]}, and has {has[:5]} that the other lacks")
    for i, name in enumerate(schema.names):
        kinds = [_kind(there.schema_arrow.field(name).type) for there in opened]
        if len(set(kinds)) > 1:
            told = [at for at, there in enumerate(opened) if not _nothing(there, name)] or [0]
            first = told[0]
            for at in told:
                if kinds[at] != kinds[first]:
                    raise SchemaError(
                        f"data: column {name!r} is {kinds[at]} in {files[at]} and {kinds[first]} in {files[first]}; write one type"
                    )
            schema = schema.set(i, opened[first].schema_arrow.field(name))
        schema = schema.set(i, schema.field(i).with_type(_kind(schema.field(i).type)))
    return schema


def _kind(kind: Any) -> Any:
    """A type without the width of codes, which writers choose by how many categories a part has."""
    pa = arrow()
    return pa.dictionary(pa.int32(), kind.value_type, kind.ordered) if pa.types.is_dictionary(kind) else kind


def _nothing(file: Any, name: str) -> bool:
    """Whether a file holds no value in a column: pandas writes missing categories as missing numbers."""
    column = file.read(columns=[name]).column(0)
    return bool(column.null_count == len(column))


def fitted(part: Any, schema: Any) -> Any:
    """A table of a file in the types of all files."""
    pa = arrow()
    for i, name in enumerate(part.column_names):
        field, column = schema.field(name), part.column(i)
        if column.type != field.type:
            column = pa.nulls(len(column), field.type) if column.null_count == len(column) else column.cast(field.type)
        part = part.set_column(i, field, column)
    return part.replace_schema_metadata(schema.metadata)


def in_dtype(column: Any, dtype: Any) -> Any:
    """A column of a batch in the dtype of all batches, with the codes of all batches: categories in another order are equal to pandas.

    Raises:
        SchemaError: a value would get lost.
    """
    if hasattr(dtype, "categories") and hasattr(column.dtype, "categories"):
        if list(column.dtype.categories) == list(dtype.categories) and column.dtype == dtype:
            return column
        found = column.cat.set_categories(dtype.categories, ordered=dtype.ordered)
    elif column.dtype == dtype:
        return column
    else:
        found = column.astype(dtype)
    if found.isna().sum() != column.isna().sum():
        lost = column[found.isna() & ~column.isna()].unique().tolist()
        raise SchemaError(f"data: column {column.name!r}: {lost[:5]} have no place in {dtype}; write the files anew, with one dtype")
    return found


def _categories(dtype: Any, name: str, files: Sequence[Any]) -> Any:
    """The categories of all row groups, in the order in which they come; each row group has a dictionary of its own.

    Raises:
        SchemaError: categories that have an order come in different ones.
    """
    import pandas as pd

    known: dict[Any, None] = {}
    for file in files:
        for g in range(file.metadata.num_row_groups):
            for part in file.read_row_group(g, columns=[name]).column(0).chunks:
                mine = part.dictionary.to_pylist() if hasattr(part, "dictionary") else []
                if dtype.ordered and known and mine and mine != list(known):
                    raise SchemaError(
                        f"data: column {name!r} has the ordered categories {list(known)[:10]} and {mine[:10]}; write one order"
                    )
                known.update(dict.fromkeys(mine))
    return pd.CategoricalDtype(
        pd.Index(list(known), dtype=dtype.categories.dtype if len(dtype.categories) else None), ordered=dtype.ordered
    )


def one_dtype(dtype: Any, name: str, files: Sequence[Any]) -> Any:
    """One dtype for all batches: pandas makes an integer column with a missing value float, and a boolean one object."""
    if hasattr(dtype, "categories"):
        return _categories(dtype, name, files)
    if not isinstance(dtype, np.dtype) or dtype.kind not in "biu" or not any(_has_nulls(file, name) for file in files):
        return dtype
    return np.dtype(object) if dtype.kind == "b" else np.dtype(np.float64)


def _has_nulls(file: Any, name: str) -> bool:
    metadata = file.metadata
    for g in range(metadata.num_row_groups):
        group = metadata.row_group(g)
        found = [group.column(j) for j in range(group.num_columns) if group.column(j).path_in_schema == name]
        statistics = found[0].statistics if found else None
        if statistics is not None and statistics.has_null_count:
            if statistics.null_count:
                return True
        elif file.read_row_group(g, columns=[name]).column(0).null_count:
            return True
    return False
