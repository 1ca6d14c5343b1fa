"""Answers on disk: SQLite in WAL mode, JSON values, no pickle, shared by processes."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from whybox._remote.database import Database
from whybox.errors import InputError

_VERSION = 1
_TABLE = "CREATE TABLE answers (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID"


def digest(*parts: Any) -> str:
    """The key of a request: a hash of JSON values, the same for the same content on every machine.

    Example:
        >>> digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1})
        True
    """
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return hashlib.sha256(text.encode("ascii")).hexdigest()


class JsonCache:
    """A dictionary on disk from keys to JSON values.

    Every write is committed before :meth:`put` returns, so a process that is killed loses nothing it had put. Several processes may read
    and write at once; the first value put under a key stays. Processes that are forked open a connection of their own.

    Args:
        path: the file; made if it does not exist, its folder must exist.
        timeout: seconds to wait for another process's write. Default 60.

    Raises:
        InputError: the file is something else.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with JsonCache(folder + "/replies.sqlite") as cache:
        ...         cache.put("key", {"text": "good"})
        ...         cache.get_many(["key", "other"])
        {'text': 'good'}
        {'key': {'text': 'good'}}
    """

    def __init__(self, path: str | os.PathLike[str], *, timeout: float = 60.0) -> None:
        self._database = Database(path, _VERSION, _TABLE, InputError, timeout=timeout)

    def __repr__(self) -> str:
        return f"JsonCache({str(self.path)!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        return JsonCache, (str(self.path),)

    def __enter__(self) -> JsonCache:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __len__(self) -> int:
        with self._database.use() as connection:
            return int(connection.execute("SELECT count(*) FROM answers").fetchone()[0])

    @property
    def path(self) -> Path:
        """The file."""
        return self._database.path

    def get_many(self, keys: Sequence[str]) -> dict[str, Any]:
        """The values of those keys that are there."""
        rows = self._database.found("SELECT key, value FROM answers WHERE key IN ({})", list(keys))
        return {key: json.loads(value) for key, value in rows}

    def put(self, key: str, value: Any) -> Any:
        """Store a value and return the one that is now stored: an earlier one, perhaps of another process, stays."""
        text = json.dumps(value, ensure_ascii=True, allow_nan=False)
        with self._database.use() as connection:
            fresh = connection.execute("INSERT OR IGNORE INTO answers VALUES (?, ?)", (key, text)).rowcount
            if not fresh:
                text = connection.execute("SELECT value FROM answers WHERE key = ?", (key,)).fetchone()[0]
        return json.loads(text)

    def close(self) -> None:
        """Close the connection; the next use opens it again."""
        self._database.close()
