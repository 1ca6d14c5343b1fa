"""A shard: the explanations of one batch of rows as one Parquet file, which appears whole or not at all and never changes again."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np

from whybox._arrays import is_array, is_frame, to_numpy
from whybox.errors import CheckpointError, InputError, MissingDependencyError
from whybox.explanations import Attribution

FORMAT, VERSION = "whybox.shard", 1
KEY = b"whybox"
PER_OUTPUT = ("base_values", "predictions", "score", "intercept", "local_pred")
PER_FEATURE = ("values", "std_error")
PLAIN = ("feature_names", "output_names", "members", "method", "estimator", "target", "seed")
DATA = "data."  # prefix of the columns that were explained


def arrow() -> Any:
    """pyarrow, with pyarrow.parquet loaded.

    Raises:
        MissingDependencyError: it is not installed.
    """
    try:
        import pyarrow as pa
        import pyarrow.parquet  # makes pa.parquet
    except ImportError:
        raise MissingDependencyError("pyarrow", "parquet", "reading and writing Parquet") from None
    return pa


def to_table(e: Attribution, ids: Any, about: dict[str, Any], *, keep_data: bool) -> Any:
    """An Arrow table with one line a row: id, values, std_error, base_values, predictions, and whatever else the explanation has.

    Values of d features and k outputs are lists of d * k numbers, feature by feature. Nothing in the table depends on when or where it was
    made: the same explanation gives the same bytes.
    """
    pa = arrow()
    columns: dict[str, Any] = {"id": _cells("id", ids)}
    tail = int(e.base_values.shape[1]) if e.multi_output else 0
    for name in PER_FEATURE:
        rows = getattr(e, name)
        if rows is not None:
            columns[name] = _lists(rows) if e.ragged else _fixed(rows.reshape(len(rows), -1))
    for name in PER_OUTPUT:
        numbers = getattr(e, name)
        if numbers is not None:
            columns[name] = _fixed(numbers) if tail else pa.array(numbers)
    if e.target_index is not None:
        columns["target_index"] = pa.array(e.target_index)
    if e.conditions is not None:
        columns["conditions"] = pa.array([[str(text) for text in row] for row in e.conditions], type=pa.list_(pa.string()))
    if e.ragged:
        columns["feature_names"] = pa.array([list(map(str, names)) for names in e.feature_names], type=pa.list_(pa.string()))
    if keep_data and e.data is not None:
        columns.update({"data": _cells("data", [list(row) for row in e.data])} if e.ragged else _data_columns(e))
    plain = {name: getattr(e, name) for name in PLAIN if not (e.ragged and name == "feature_names")}
    header = {"format": FORMAT, "version": VERSION, **about, "plain": plain, "settings": dict(e.settings), "outputs": tail}
    header |= {"ragged": e.ragged, "data": _data_kind(e) if keep_data else None}
    text = json.dumps(header, separators=(",", ":"), sort_keys=True)
    return pa.table(columns).replace_schema_metadata({KEY: text.encode()})


def _cells(name: str, cells: Any) -> Any:
    pa = arrow()
    try:
        return pa.array(cells)
    except pa.ArrowException as error:
        raise InputError(f"{name}: Parquet has no type for this column ({error}); make it one of numbers, texts or dates") from error


def _fixed(rows: Any) -> Any:
    pa = arrow()
    return pa.FixedSizeListArray.from_arrays(pa.array(np.ascontiguousarray(rows).reshape(-1)), rows.shape[1])


def _lists(rows: Any) -> Any:
    pa = arrow()
    return pa.array([np.asarray(row).reshape(-1) for row in rows], type=pa.list_(pa.float64()))


def _data_kind(e: Attribution) -> str | None:
    return None if e.data is None else "ragged" if e.ragged else "frame" if is_frame(e.data) else "array"


def _data_columns(e: Attribution) -> dict[str, Any]:
    if is_frame(e.data):
        return {f"{DATA}{name}": _cells(str(name), e.data.iloc[:, j]) for j, name in enumerate(e.data.columns)}
    host = to_numpy(e.data) if is_array(e.data) else np.asarray(e.data)
    return {f"{DATA}{j}": _cells(f"column {j}", host[:, j]) for j in range(host.shape[1])}


def encode(table: Any) -> tuple[bytes, str]:
    """The table as the bytes of a Parquet file, and their SHA-256."""
    pa = arrow()
    sink = pa.BufferOutputStream()
    pa.parquet.write_table(table, sink, compression="zstd", use_dictionary=False)
    content = sink.getvalue().to_pybytes()
    return content, hashlib.sha256(content).hexdigest()


def publish(content: bytes, path: Path) -> bool:
    """Give a file its name only when all of it is on disk; a file that is there already stays. Returns whether this one was taken."""
    part = path.with_name(f".{path.name}.{uuid4().hex}.part")
    try:
        with part.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(part, path)
        except FileExistsError:
            return False
        except OSError:  # a file system without hard links: a rename is as atomic, but would replace an equal shard
            if path.exists():
                return False
            part.rename(path)
    finally:
        with suppress(FileNotFoundError):
            part.unlink()
    sync_folder(path.parent)
    return True


def sync_folder(folder: Path) -> None:
    """Make names in a folder last (where the system can)."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def read_table(path: Path, columns: Sequence[str] | None = None) -> tuple[Any, dict[str, Any]]:
    """A shard's table and header.

    Raises:
        CheckpointError: the file is missing, damaged or not a shard.
    """
    pa = arrow()
    try:
        table = pa.parquet.read_table(path, columns=None if columns is None else list(columns), partitioning=None)
        header = json.loads(table.schema.metadata[KEY])
    except FileNotFoundError:
        raise CheckpointError(f"{path}: the shard is gone; run explain_dataset again, it explains these rows anew") from None
    except (OSError, pa.ArrowException, KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path}: not a shard, or damaged ({error}); remove it and run explain_dataset again") from error
    if header.get("format") != FORMAT or header.get("version", VERSION + 1) > VERSION:
        raise CheckpointError(f"{path}: format {header.get('format')!r} {header.get('version')!r}; this whybox reads {FORMAT} {VERSION}")
    return table, header
