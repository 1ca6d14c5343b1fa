"""Rows that are in memory, cut into batches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from whybox._arrays import is_array, is_frame, is_series
from whybox.distributed._identity import UnidentifiedError, digest
from whybox.errors import InputError, OptionError, SchemaError, ShapeError


@dataclass(frozen=True)
class Batch:
    """Some rows of the data.

    Args:
        number: of the batch; batches are numbered in the order of the data.
        x: the rows as the explainer takes them.
        ids: (n,) row ids.
    """

    number: int
    x: Any
    ids: Any


class Source(Protocol):
    """Data that can be cut anywhere, in every process alike."""

    @property
    def n(self) -> int:
        """Rows."""

    @property
    def columns(self) -> tuple[str, ...] | None:
        """Names of the columns that are explained, or None where rows have none."""

    def digest(self) -> str:
        """Identifies the content: columns, dtypes, cells, ids and their order."""

    def batch(self, number: int, start: int, stop: int) -> Batch:
        """Rows start to stop."""


@dataclass(frozen=True)
class Memory:
    """Rows in memory.

    Args:
        x: (n, d) frame or array, or a list of n texts.
        ids: (n,) row ids, or None for positions.
        columns: names of the columns, or None.
    """

    x: Any
    ids: Any
    columns: tuple[str, ...] | None

    @property
    def n(self) -> int:
        """Rows."""
        return len(self.x)

    def digest(self) -> str:
        """Identifies rows and ids."""
        try:
            return digest((self.x, self.ids))
        except UnidentifiedError as error:
            raise InputError(f"data: {error}; a job that can go on needs cells with content, such as numbers, texts and dates") from error

    def batch(self, number: int, start: int, stop: int) -> Batch:
        """Rows start to stop."""
        ids = np.arange(start, stop) if self.ids is None else self.ids[start:stop]
        if is_frame(self.x):
            return Batch(number, self.x.iloc[start:stop].reset_index(drop=True), ids)
        return Batch(number, self.x[start:stop], ids)


@dataclass(frozen=True)
class Batches:
    """The batches that are still to be explained. Iterating makes one at a time; cluster engines send ``source`` once, and numbers.

    Args:
        source: the data.
        size: rows of a batch; the last one may be shorter.
        numbers: which batches.
    """

    source: Source
    size: int
    numbers: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.numbers)

    def __iter__(self) -> Iterator[Batch]:
        return (self[number] for number in self.numbers)

    def __getitem__(self, number: int) -> Batch:
        """The batch of this number."""
        start = number * self.size
        return self.source.batch(number, start, min(start + self.size, self.source.n))

    def rows(self, number: int) -> int:
        """Rows of a batch."""
        return min(self.size, self.source.n - number * self.size)


def in_memory(data: Any, columns: str | Sequence[str] | None, row_id: str | None) -> Memory:
    """Rows in memory as a source.

    Raises:
        InputError: there are no rows, or ids repeat or are missing.
        OptionError: columns or id were given for rows without column names.
        SchemaError: a column does not exist, or names repeat.
    """
    if is_frame(data):
        return _frame(data, columns, row_id)
    if columns is not None or row_id is not None:
        raise OptionError(f"columns and id name columns of a DataFrame or of Parquet files; data is {type(data).__name__}: leave them out")
    if is_series(data):
        data = data.tolist()
    if isinstance(data, (list, tuple)):
        if data and all(isinstance(text, str) for text in data):
            return Memory(list(data), None, None)
        data = np.asarray(data) if data else data
    if isinstance(data, (list, tuple)):
        raise InputError("data: has no rows; expected at least one")
    if not is_array(data):
        raise InputError(
            f"data: expected a DataFrame, an array (rows, features), texts, paths of Parquet files, or Ray, Dask or Spark data; "
            f"got {type(data).__name__}"
        )
    if not len(data):
        raise InputError("data: has no rows; expected at least one")
    if data.ndim != 2:
        raise ShapeError(f"data: expected 2 axes (rows, features), got shape {tuple(data.shape)}")
    return Memory(data, None, None)


def _frame(data: Any, columns: str | Sequence[str] | None, row_id: str | None) -> Memory:
    if not len(data):
        raise InputError("data: has no rows; expected at least one")
    if not data.columns.is_unique:
        raise SchemaError(f"data: column names repeat: {data.columns[data.columns.duplicated()].tolist()[:5]}")
    chosen = choose(list(data.columns), columns, row_id)
    ids = None
    if row_id is not None:
        ids = data[row_id].to_numpy()
        if data[row_id].isna().any():
            raise InputError(f"id: column {row_id!r} lacks {int(data[row_id].isna().sum())} ids; every row needs one")
        if not data[row_id].is_unique:
            raise InputError(repeated(row_id, data[row_id][data[row_id].duplicated()].head(5).tolist()))
    if isinstance(columns, str):
        return Memory(data[columns].tolist(), ids, (columns,))
    return Memory(data[chosen], ids, tuple(map(str, chosen)))


def choose(there: list[Any], columns: str | Sequence[str] | None, row_id: str | None) -> list[Any]:
    """The columns to be explained.

    Raises:
        SchemaError: one of them, or the id, is not there.
        InputError: none is left.
    """
    wanted = [columns] if isinstance(columns, str) else [c for c in there if c != row_id] if columns is None else list(columns)
    missing = [c for c in [*wanted, *([] if row_id is None else [row_id])] if c not in there]
    if missing:
        raise SchemaError(f"data has no columns {missing[:5]}; it has {there[:20]}")
    if not wanted:
        raise InputError("data: has no columns to explain; expected at least one feature")
    return wanted


def repeated(row_id: str, examples: list[Any]) -> str:
    """The message about ids that repeat."""
    return (
        f"id: column {row_id!r} repeats ids, such as {examples}; each row needs its own: drop repeated rows, or leave id out for positions"
    )
