"""An append-only log of answered batches: what was paid for survives an exception, Ctrl-C and kill -9.

Each record is one unbuffered write with a CRC; a torn last record is cut off on opening. No pickle.
"""

from __future__ import annotations

import json
import os
import struct
import zlib
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from whybox.errors import CheckpointError, OptionError
from whybox.typing import Floats, Ints

_MAGIC = b"whybox checkpoint 1\n"
_HEAD = struct.Struct("<II")  # length, crc32 of the payload
_BATCH = struct.Struct("<QQII")  # unit, rows, outputs, axes of the model's answer


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else repr(value)


class Checkpoint:
    """The log of one job.

    Args:
        path: the file; it is made if it does not exist.
        job: identifies the job: a hash of the explainer's settings, the model's version and the data.
        about: readable facts of the job, for messages.

    Raises:
        CheckpointError: the file is not a checkpoint, belongs to another job, is in use, or cannot be opened.
        OptionError: path is no path.
    """

    def __init__(self, path: str | os.PathLike[str], job: str, about: dict[str, Any]) -> None:
        if not isinstance(path, (str, os.PathLike)):
            raise OptionError(f"checkpoint: expected the path of a file, got {path!r}")
        self.path = Path(path)
        self._index: dict[int, list[tuple[int, int]]] = {}
        self._units: dict[int, str] = {}
        try:
            existing = self.path.exists() and self.path.stat().st_size > 0
            self._file = self.path.open("r+b" if existing else "w+b", buffering=0)  # closed by __exit__
        except OSError as error:
            raise CheckpointError(
                f"{self.path}: cannot be opened ({error.strerror}); pass the path of a file in a folder that exists"
            ) from error
        try:
            self._lock()
            self._open(existing, job, about)
        except BaseException:
            self._file.close()
            raise

    def _lock(self) -> None:
        """Two calls that write at one place would destroy each other's answers. A killed process holds no lock."""
        try:
            import fcntl
        except ImportError:  # no such locks on this system
            return
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise CheckpointError(f"{self.path}: another call is at work on it; wait for it, or pass another path") from error
        except OSError:  # a file system without locks
            return

    def _open(self, existing: bool, job: str, about: dict[str, Any]) -> None:
        mine = b"J" + json.dumps({"job": job, **about}, default=_plain).encode()
        if not existing:
            self._file.write(_MAGIC)
            self._append(mine)
            return
        if self._file.read(len(_MAGIC)) != _MAGIC:
            raise CheckpointError(f"{self.path}: not a whybox checkpoint of version 1; pass another path")
        good, told = self._file.tell(), False
        while (payload := self._read_record()) is not None:
            kind, body = payload[:1], payload[1:]
            if kind == b"J":
                told = True
                found = json.loads(body)
                if found["job"] != job:
                    changed = {key: (found.get(key), value) for key, value in about.items() if found.get(key) != value}
                    raise CheckpointError(
                        f"{self.path}: belongs to another job; changed (there, here): {changed or 'the data'}; "
                        "pass another path, or remove the file to start anew"
                    )
            elif kind == b"U":
                unit = json.loads(body)
                self._units[unit["unit"]] = unit["hash"]
            else:
                self._index.setdefault(_BATCH.unpack_from(body)[0], []).append((good + _HEAD.size + 1, len(body)))
            good = self._file.tell()
        self._file.truncate(good)
        self._file.seek(good)
        if not told:  # killed before it had said whose it is: nothing is in it
            self._append(mine)

    def _read_record(self) -> bytes | None:
        head = self._file.read(_HEAD.size)
        if len(head) < _HEAD.size:
            return None
        length, crc = _HEAD.unpack(head)
        payload = self._file.read(length)
        return payload if len(payload) == length and length > 0 and zlib.crc32(payload) == crc else None

    def _append(self, payload: bytes) -> None:
        record = memoryview(_HEAD.pack(len(payload), zlib.crc32(payload)) + payload)
        while record:
            record = record[self._file.write(record) :]

    def begin(self, unit: int, digest: str) -> list[tuple[Ints, Floats, bool]]:
        """The batches of a unit that were answered before: positions (r,), outputs (r, k), whether answers had one axis.

        Raises:
            CheckpointError: the unit's rows are not those that were recorded.
        """
        if unit not in self._units:
            self._units[unit] = digest
            self._append(b"U" + json.dumps({"unit": unit, "hash": digest}).encode())
            return []
        if self._units[unit] != digest:
            raise CheckpointError(f"{self.path}: the rows of part {unit} are not those that were recorded; data, seed or budget changed")
        end = self._file.tell()
        batches = []
        for offset, length in self._index.get(unit, []):
            self._file.seek(offset)
            body = self._file.read(length)
            _, rows, width, axes = _BATCH.unpack_from(body)
            at = _BATCH.size
            index = np.frombuffer(body, dtype="<i8", count=rows, offset=at).astype(np.int64)
            outputs = np.frombuffer(body, dtype="<f8", count=rows * width, offset=at + 8 * rows).reshape(rows, width).astype(np.float64)
            batches.append((index, outputs, axes == 1))
        self._file.seek(end)
        return batches

    def record(self, unit: int, index: Ints, outputs: Floats, one_axis: bool) -> None:
        """Append one answered batch."""
        head = _BATCH.pack(unit, len(index), outputs.shape[1], 1 if one_axis else 2)
        self._append(b"B" + head + index.astype("<i8").tobytes() + outputs.astype("<f8").tobytes())

    def __enter__(self) -> Checkpoint:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._file.close()
