"""Rows in Parquet files: workers read the rows of a batch themselves, with one dtype a column whatever a batch happens to hold."""

from __future__ import annotations

import hashlib
import os
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from whybox._arrays import row_digests
from whybox.distributed._parquet_types import fitted, in_dtype, one_dtype, one_schema
from whybox.distributed._shards import arrow
from whybox.distributed._sources import Batch, choose, repeated
from whybox.errors import InputError

_READ = 1 << 16  # rows at once, where a whole column is looked at


@dataclass(frozen=True)
class Group:
    """A row group of a file."""

    path: str
    index: int
    rows: int


@dataclass(frozen=True)
class ParquetRows:
    """The rows of Parquet files, file after file.

    Args:
        files: paths, in order.
        groups: row groups, in order.
        ends: rows up to the end of each group.
        columns: names of the columns that are explained.
        schema: Arrow's type of each column, for all files.
        dtypes: pandas dtype of each of them, for all batches.
        row_id: column of ids, or None for positions.
        texts: the one column is handed over as a list of texts.
    """

    files: tuple[str, ...]
    groups: tuple[Group, ...]
    ends: tuple[int, ...]
    columns: tuple[str, ...]
    schema: Any
    dtypes: tuple[Any, ...]
    row_id: str | None
    texts: bool

    @property
    def n(self) -> int:
        """Rows."""
        return self.ends[-1]

    def digest(self) -> str:
        """Hash of the files' bytes in order, the columns and the id."""
        state = hashlib.sha256(repr((self.columns, self.row_id)).encode())
        for path in self.files:
            with Path(path).open("rb") as file:
                state.update(hashlib.file_digest(file, "sha256").digest())
        return state.hexdigest()

    def unordered_digest(self) -> str:
        """The same for rows in any order and in any number of files: a sum of the rows' hashes."""
        total = np.zeros(2, dtype=np.uint64)
        for start in range(0, self.n, _READ):
            batch = self.batch(0, start, min(start + _READ, self.n))
            frame = batch.x if not self.texts else _texts_frame(batch.x)
            total += row_digests(frame.assign(**{"\0id": batch.ids})).sum(axis=0, dtype=np.uint64)
        return hashlib.sha256(repr((self.n, self.columns, total.tolist())).encode()).hexdigest()

    def batch(self, number: int, start: int, stop: int) -> Batch:
        """Rows start to stop, read from the row groups that hold them."""
        pa = arrow()
        wanted = self.columns if self.row_id is None or self.row_id in self.columns else (*self.columns, self.row_id)
        parts, at = [], bisect_right(self.ends, start)
        position = start
        while position < stop:
            group = self.groups[at]
            first = self.ends[at] - group.rows
            count = min(stop, self.ends[at]) - position
            part = _read(group, wanted, os.stat(group.path).st_mtime_ns).slice(position - first, count)  # noqa: PTH116  # a str
            parts.append(fitted(part, self.schema))
            position, at = position + count, at + 1
        frame = pa.concat_tables(parts).to_pandas()
        ids = np.arange(start, stop) if self.row_id is None else frame[self.row_id].to_numpy()
        if self.texts:
            return Batch(number, frame[self.columns[0]].tolist(), ids)
        x = frame[list(self.columns)]
        for name, dtype in zip(self.columns, self.dtypes, strict=True):
            column = x[name]
            if (typed := in_dtype(column, dtype)) is not column:
                x = x.assign(**{name: typed})
        return Batch(number, x.reset_index(drop=True), ids)


def _texts_frame(texts: list[str]) -> Any:
    import pandas as pd

    return pd.DataFrame({"text": texts}, dtype=object)


@lru_cache(maxsize=1)
def _read(group: Group, columns: tuple[str, ...], changed: int) -> Any:  # noqa: ARG001  # a file that changes is read again
    """A row group. The last one is kept: the batches of a group follow one another."""
    pa = arrow()
    return pa.parquet.ParquetFile(group.path).read_row_group(group.index, columns=list(columns), use_threads=False)


def is_paths(data: Any) -> bool:
    """Whether data are paths."""
    return isinstance(data, (str, os.PathLike)) or (
        isinstance(data, (list, tuple)) and bool(data) and all(isinstance(path, os.PathLike) for path in data)
    )


def in_files(data: Any, columns: str | Sequence[str] | None, row_id: str | None) -> ParquetRows:
    """Parquet files as a source.

    Args:
        data: a file, a folder (all its ``.parquet`` files, sorted by name), or a sequence of either.
        columns: names of the columns to explain; None takes all but the id.
        row_id: column of ids, or None.

    Raises:
        InputError: there are no files or rows, a file cannot be read, or ids repeat or are missing.
        SchemaError: files have other columns than the first, or a column does not exist.

    A file that holds nothing but missing values in a column, and so no type, takes that of the others.
    """
    files = [file for path in ([data] if isinstance(data, (str, os.PathLike)) else data) for file in _files(Path(path))]
    pa = arrow()
    opened = []
    for file in files:
        try:
            opened.append(pa.parquet.ParquetFile(file))
        except (OSError, pa.ArrowException) as error:
            raise InputError(f"data: {file} cannot be read as Parquet ({error})") from error
    schema = one_schema(files, opened)
    empty = schema.empty_table().to_pandas()
    chosen = choose([name for name in schema.names if name in empty.columns], columns, row_id)
    groups = tuple(
        Group(str(file), g, there.metadata.row_group(g).num_rows)
        for file, there in zip(files, opened, strict=True)
        for g in range(there.metadata.num_row_groups)
        if there.metadata.row_group(g).num_rows
    )
    if not groups:
        raise InputError(f"data: {len(files)} files, the first {files[0]}, have no rows; expected at least one")
    dtypes = tuple(one_dtype(empty[name].dtype, name, opened) for name in chosen)
    ends = tuple(np.cumsum([group.rows for group in groups]).tolist())
    source = ParquetRows(tuple(map(str, files)), groups, ends, tuple(chosen), schema, dtypes, row_id, isinstance(columns, str))
    if row_id is not None:
        _check_ids(opened, row_id)
    return source


def _files(path: Path) -> list[Path]:
    if path.is_dir():
        inside = [p.relative_to(path) for p in path.rglob("*.parquet") if p.is_file()]
        found = sorted(p for p in inside if not any(part.startswith(("_", ".")) for part in p.parts))
        if not found:
            raise InputError(f"data: the folder {path} has no .parquet files")
        return [path / p for p in found]
    if not path.is_file():
        raise InputError(f"data: there is no file {path}; expected a Parquet file or a folder of them")
    return [path]


def _check_ids(files: Sequence[Any], row_id: str) -> None:
    """Every row has an id of its own: eight bytes a row are held to be sure.

    Raises:
        InputError: ids repeat or are missing.
    """
    import pandas as pd

    hashes, seen = [], 0
    for file in files:
        for part in file.iter_batches(batch_size=_READ, columns=[row_id]):
            ids = part.column(0).to_pandas()
            if ids.isna().any():
                raise InputError(f"id: column {row_id!r} lacks an id within rows {seen} to {seen + len(ids)}; every row needs one")
            hashes.append(pd.util.hash_pandas_object(ids, index=False).to_numpy())
            seen += len(ids)
    hashed = np.sort(np.concatenate(hashes))
    twice = np.unique(hashed[1:][hashed[1:] == hashed[:-1]])
    if not len(twice):
        return
    rows: list[Any] = []
    for file in files:  # two ids may share a hash: look again at those
        for part in file.iter_batches(batch_size=_READ, columns=[row_id]):
            ids = part.column(0).to_pandas()
            rows += ids[np.isin(pd.util.hash_pandas_object(ids, index=False).to_numpy(), twice)].tolist()
    found = pd.Series(rows)
    again = found[found.duplicated()].unique().tolist()
    if again:
        raise InputError(repeated(row_id, again[:5]))
