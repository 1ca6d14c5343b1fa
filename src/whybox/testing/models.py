"""A test double that records what a model was asked, and what is needed to compare rows by content."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from whybox._arrays import is_array, is_frame, is_numpy, is_torch, namespace, to_numpy
from whybox.typing import Rows

Predict = Callable[[Rows], Any]


def n_rows(rows: Rows) -> int:
    """How many rows a container of rows holds."""
    return int(rows.shape[0]) if is_array(rows) or is_frame(rows) else len(rows)


@dataclass
class RecordingModel:
    """Calls a function and writes down what it was called with.

    Args:
        fn: rows in, outputs out.
        apart_from: arrays that no batch may share memory with, such as x and the background.
        keep: keep a copy of every batch in ``batches``; otherwise only its digest.

    Attributes:
        batch_sizes: rows of each call, in order.
        digests: content hash of each batch, taken before the call.
        aliased: the calls whose batch shared memory with one of ``apart_from``.
        batches: copies of the batches, with ``keep=True``.

    Example:
        >>> model = RecordingModel(lambda rows: rows.sum(axis=1))
        >>> model(np.ones((3, 2))), model.n_calls, model.n_rows
        (array([2., 2., 2.]), 1, 3)
    """

    fn: Predict
    apart_from: Sequence[Any] = ()
    keep: bool = False
    batch_sizes: list[int] = field(default_factory=list, init=False)
    digests: list[str] = field(default_factory=list, init=False)
    aliased: list[int] = field(default_factory=list, init=False)
    batches: list[Rows] = field(default_factory=list, init=False)

    @property
    def n_calls(self) -> int:
        """How often the model was called."""
        return len(self.batch_sizes)

    @property
    def n_rows(self) -> int:
        """How many rows it was called with, over all calls."""
        return sum(self.batch_sizes)

    def __call__(self, rows: Rows) -> Any:
        """The function's answer."""
        if any(_share_memory(rows, other) for other in self.apart_from):
            self.aliased.append(self.n_calls)
        self.digests.append(content_digest(rows))
        if self.keep:
            self.batches.append(copy_rows(rows))
        self.batch_sizes.append(n_rows(rows))
        return self.fn(rows)


def copy_rows(rows: Rows) -> Rows:
    """A copy of rows that shares no memory with them."""
    if is_frame(rows):
        return rows.copy(deep=True)
    if is_array(rows):
        return rows.copy() if is_numpy(rows) else rows.clone() if is_torch(rows) else namespace(rows).asarray(rows, copy=True)
    return list(rows)


def content_digest(rows: Rows) -> str:
    """Hash of the rows' values, dtypes and column names; equal exactly for equal content."""
    if is_frame(rows):
        import pandas as pd

        head = repr([(str(name), str(dtype)) for name, dtype in rows.dtypes.items()])
        try:
            body = pd.util.hash_pandas_object(rows, index=False).to_numpy().tobytes()
        except TypeError:  # cells that cannot be hashed, such as lists
            body = repr(rows.to_numpy().tolist()).encode()
    elif is_array(rows):
        array = to_numpy(rows)
        head = f"{array.dtype} {array.shape}"
        body = repr(array.tolist()).encode() if array.dtype.hasobject else np.ascontiguousarray(array).tobytes()
    else:
        head, body = type(rows).__name__, repr(list(rows)).encode()
    return hashlib.sha256(head.encode() + b"\n" + body).hexdigest()


def _share_memory(rows: Rows, other: Any) -> bool:
    return any(np.shares_memory(a, b) for a in _buffers(rows) for b in _buffers(other))


def _buffers(rows: Rows) -> list[Any]:
    if is_frame(rows):
        return [np.asarray(rows.iloc[:, i]) for i in range(rows.shape[1]) if isinstance(rows.dtypes.iloc[i], np.dtype)]
    return [to_numpy(rows)] if is_array(rows) else []
