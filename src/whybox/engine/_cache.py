"""A file of answers that outlives the job: SQLite in WAL mode, shared safely by processes, without pickle."""

from __future__ import annotations

import hashlib
import os

import numpy as np
from numpy.typing import NDArray

from whybox._remote import Database
from whybox.errors import CheckpointError, OptionError
from whybox.typing import Bools, Floats, Model

_FORMAT = 101  # other than that of a cache of texts
_TABLE = "CREATE TABLE outputs (key BLOB PRIMARY KEY, axes INTEGER, outputs BLOB) WITHOUT ROWID"


class Cache:
    """Answers by model version and row content.

    Args:
        path: the file; it is made if it does not exist.
        version: of the model; answers of other versions are not seen.

    Raises:
        CheckpointError: the file is something else.
    """

    def __init__(self, path: str | os.PathLike[str], version: str) -> None:
        self._model = hashlib.sha256(version.encode()).digest()[:16]
        self._database = Database(path, _FORMAT, _TABLE, CheckpointError)

    def get(self, digests: NDArray[np.uint64]) -> tuple[Bools, Floats | None, bool]:
        """Which rows are answered, their outputs (h, k) in order, and whether the model's answer had one axis.

        Args:
            digests: (n, 2) of :func:`whybox._arrays.row_digests`.
        """
        keys = self._keys(digests)
        rows = self._database.found("SELECT key, axes, outputs FROM outputs WHERE key IN ({})", list(keys))
        found = {key: (axes, outputs) for key, axes, outputs in rows}
        hit = np.array([key in found for key in keys], dtype=bool)
        if not found:
            return hit, None, False
        outputs = b"".join(found[key][1] for key in keys if key in found)
        values = np.frombuffer(outputs, dtype="<f8").reshape(int(hit.sum()), -1).astype(np.float64)
        return hit, values, next(iter(found.values()))[0] == 1

    def put(self, digests: NDArray[np.uint64], outputs: Floats, one_axis: bool) -> None:
        """Keep answers; they are on disk when this returns."""
        axes = 1 if one_axis else 2
        rows = [(key, axes, row.astype("<f8").tobytes()) for key, row in zip(self._keys(digests), outputs, strict=True)]
        with self._database.use() as connection:
            connection.execute("BEGIN IMMEDIATE")
            with connection:  # commits, or rolls back
                connection.executemany("INSERT OR IGNORE INTO outputs VALUES (?, ?, ?)", rows)

    def _keys(self, digests: NDArray[np.uint64]) -> list[bytes]:
        return [self._model + row.tobytes() for row in np.ascontiguousarray(digests)]

    def close(self) -> None:
        """Close the file."""
        self._database.close()


def version_of(model: Model) -> str:
    """What tells this model's answers from another's in a cache that outlives the job.

    Raises:
        OptionError: the model has no version.
    """
    version = model.identity()
    if version is None:
        raise OptionError(
            f"cache: {model.name} has no version; pass whybox.as_model(f, version=...), and another version when the model changes"
        )
    return f"{model.name} {model.kind} {version}"
