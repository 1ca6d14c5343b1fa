"""What a worker does: load the explainer once, explain a batch, write its shard. The same code on every engine."""

from __future__ import annotations

import dataclasses
import hashlib
import inspect
import json
import os
import pickle
import socket
import time
import traceback
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np

from whybox._arrays import is_array, is_frame, on_accelerator, row_nbytes
from whybox.distributed._identity import Identity, model_of
from whybox.distributed._pickling import dumps
from whybox.distributed._shards import encode, publish, to_table
from whybox.distributed._sources import Batch
from whybox.engine import Engine
from whybox.errors import CheckpointError, InputError
from whybox.explanations import Attribution

_CALL_ROWS, _CALL_BYTES = 4096, 12 << 20  # rows of a model call where the explainer leaves them open
_DEVICE_ROWS, _DEVICE_BYTES = 1 << 18, 256 << 20  # where the model is on an accelerator, which thousands of rows do not keep busy
_LOADED: dict[str, Any] = {}  # the explainer of this process
_LOG: dict[tuple[str, int], Path] = {}  # the log file of this process, by job folder


@dataclass(frozen=True)
class Result:
    """What became of a batch.

    Args:
        batch: its number.
        rows: how many were explained.
        error: None, or the pickled exception.
        text: the exception in words.
        trace: where it was raised.
    """

    batch: int
    rows: int
    error: bytes | None = None
    text: str = ""
    trace: str = ""

    def raise_error(self) -> None:
        """Raise what was raised in the worker, if anything was."""
        if self.error is None:
            return
        try:
            error = pickle.loads(self.error)  # noqa: S301  # made by our own worker
        except Exception:  # noqa: BLE001  # an exception class may refuse its own pickle in any way
            error = RuntimeError(self.text)
        error.add_note(f"whybox: raised for batch {self.batch} of the data, in a worker:\n{self.trace}")
        raise error


@dataclass(frozen=True)
class Task:
    """Explains batches: ``task(batch)`` is what an engine maps.

    Args:
        folder: of the job; every worker must see it under this path.
        job: digest of the job.
        payload: the explainer, or what makes it, as cloudpickle's bytes.
        factory: payload makes the explainer when it is called.
        call: arguments of ``explain``.
        threads: of BLAS and OpenMP, for the time of the call.
        keep_data: write the explained rows into the shards.
    """

    folder: str
    job: str
    payload: bytes
    factory: bool
    call: Mapping[str, Any]
    threads: int
    keep_data: bool

    def __call__(self, batch: Batch) -> Result:
        """Explain a batch and write its shard. What is raised is returned, so that no engine repeats or wraps it."""
        try:
            folder = Path(self.folder)
            self._check_folder(folder)
            self._explain(batch, folder)
        except Exception as error:  # noqa: BLE001  # whatever the model raises goes to the driver
            return Result(batch.number, len(batch.ids), _pickled(error), f"{type(error).__name__}: {error}", traceback.format_exc())
        return Result(batch.number, len(batch.ids))

    def _check_folder(self, folder: Path) -> None:
        """The folder is there, and still this job's: a worker whose driver was killed may outlive the job.

        Raises:
            CheckpointError: it is not.
        """
        try:
            there = json.loads((folder / "job.json").read_text(encoding="utf-8"))["digest"]
        except OSError as error:
            raise CheckpointError(
                f"{folder}: this worker ({socket.gethostname()}) does not see the job's folder; out must be on a file system that all "
                "workers share, under the same path"
            ) from error
        if there != self.job:
            raise CheckpointError(f"{folder}: belongs to another job by now; the shard of this one is not written")

    def _explain(self, batch: Batch, folder: Path) -> None:
        path = shard_path(folder, batch.number)
        if path.exists():
            return
        rows = len(batch.ids)
        here = {"job": self.job, "batch": batch.number, "rows": rows}
        log(folder, {"event": "begun", **here, "host": socket.gethostname(), "pid": os.getpid()})
        began = time.perf_counter()
        with limited(self.threads), warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            explainer = self._explainer(folder)
            found = _fixed_calls(explainer, batch.x).explain(batch.x, **self._arguments(explainer))
        if not isinstance(found, Attribution) or len(found) != rows:
            raise InputError(f"{type(explainer).__name__}.explain: expected an Attribution of {rows} rows, got {found!r}")
        content, sha256 = encode(to_table(found, batch.ids, here, keep_data=self.keep_data))
        texts = dict.fromkeys((f"{w.category.__module__}.{w.category.__qualname__}", str(w.message)) for w in caught)  # each once
        said = [{"category": category, "text": text} for category, text in texts]
        seconds = time.perf_counter() - began
        stats = dataclasses.asdict(found.stats)
        self._check_folder(folder)
        log(folder, {"event": "explained", **here, "sha256": sha256, "seconds": seconds, "stats": stats, "said": said})
        publish(content, path)

    @contextmanager
    def at_hand(self, explainer: Any) -> Iterator[None]:
        """A block in which batches that this very process explains use the explainer itself and no copy: what it counts, it counts."""
        if self.factory:
            yield
            return
        _LOADED.clear()
        _LOADED[self._key] = explainer
        try:
            yield
        finally:
            _LOADED.clear()

    @property
    def _key(self) -> str:
        return hashlib.sha256(self.payload).hexdigest()

    def _arguments(self, explainer: Any) -> dict[str, Any]:
        known = inspect.signature(explainer.explain).parameters
        return {name: value for name, value in self.call.items() if name == "seed" or name in known or value is not None}

    def _explainer(self, folder: Path) -> Any:
        key = self._key
        if key not in _LOADED:
            made = pickle.loads(self.payload)  # noqa: S301  # made by the driver of this job
            made = made() if self.factory else made
            if not callable(getattr(made, "explain", None)):
                raise InputError(f"explainer: the factory made {type(made).__name__}, which has no explain(x); return an explainer")
            if self.factory:
                _same_explainer(made, folder)
            _LOADED.clear()
            _LOADED[key] = made
        return _LOADED[key]


def _same_explainer(made: Any, folder: Path) -> None:
    """Every worker's factory makes the explainer that the first one's made, also in a call that goes on.

    Raises:
        CheckpointError: it made another one.
    """
    mine = dataclasses.asdict(Identity.of(made))
    note = folder / "explainer.json"
    publish(json.dumps(mine).encode(), note)
    first = json.loads(note.read_text(encoding="utf-8"))
    changed = [name for name, value in first.items() if mine[name] != value]
    if changed:
        raise CheckpointError(
            f"{folder}: the factory made another explainer than the one that this job began with; changed: {', '.join(changed)}. "
            'Pass another out, or on_change="restart" to start anew'
        )


def _fixed_calls(explainer: Any, x: Any) -> Any:
    """The explainer with a fixed number of rows a model call.

    ``batch_size="auto"`` follows the clock, and a model whose last bits depend on the shape of its batch (matrix products do) would give
    a repeated batch other bits.
    """
    engine = getattr(explainer, "engine", None)
    if not (dataclasses.is_dataclass(explainer) and isinstance(engine, Engine) and engine.batch_size == "auto"):
        return explainer
    model = model_of(explainer)
    if model is not None and model.remote is not None:
        return explainer  # its size follows from the requests in flight, and not from the clock
    there = model is not None and model.place is not None and on_accelerator(model.place(np.zeros((1, 1))))
    rows, nbytes = (_DEVICE_ROWS, _DEVICE_BYTES) if there else (_CALL_ROWS, _CALL_BYTES)
    width = row_nbytes(x) if is_array(x) or is_frame(x) else nbytes // 64
    size = max(min(nbytes // max(width, 1), rows, engine.max_batch or rows), 1)
    return dataclasses.replace(explainer, engine=dataclasses.replace(engine, batch_size=size))  # type: ignore[type-var]


@contextmanager
def limited(threads: int) -> Iterator[None]:
    """BLAS and OpenMP on so many threads: with more, sums are cut elsewhere and last bits change."""
    from threadpoolctl import threadpool_limits

    with threadpool_limits(limits=threads):
        yield


def shard_path(folder: Path, number: int) -> Path:
    """Where the shard of a batch is."""
    return folder / "shards" / f"part-{number:06d}.parquet"


def log(folder: Path, event: dict[str, Any]) -> None:
    """Append a line to this process's own log of the job; it is on disk when this returns."""
    key = (str(folder), os.getpid())
    path = _LOG.setdefault(key, folder / "log" / f"{socket.gethostname()}-{os.getpid()}-{uuid4().hex[:8]}.jsonl")
    line = (json.dumps({"time": time.time(), **event}, default=repr) + "\n").encode()
    with path.open("ab", buffering=0) as file:
        file.write(line)
        os.fsync(file.fileno())


def _pickled(error: Exception) -> bytes:
    try:
        return dumps(error.with_traceback(None))
    except Exception:  # noqa: BLE001  # then the words must do
        return pickle.dumps(RuntimeError(f"{type(error).__name__}: {error}"))
