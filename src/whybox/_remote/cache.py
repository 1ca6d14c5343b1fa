"""Answers on disk: SQLite in WAL mode, JSON values, no pickle, shared by processes."""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
import threading
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from whybox.errors import InputError

_APPLICATION = 0x57424F58  # "WBOX"
_VERSION = 1
_AT_ONCE = 500


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
        self.path = Path(path)
        self._timeout = timeout
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        self._pid = -1
        with self._lock:
            self._open()

    def __repr__(self) -> str:
        return f"JsonCache({str(self.path)!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        return JsonCache, (str(self.path),)

    def __enter__(self) -> JsonCache:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        connection = getattr(self, "_connection", None)
        if connection is not None and self._pid == os.getpid():
            connection.close()

    def __len__(self) -> int:
        with self._lock:
            return int(self._open().execute("SELECT count(*) FROM answers").fetchone()[0])

    def _open(self) -> sqlite3.Connection:
        if self._connection is not None and self._pid == os.getpid():
            return self._connection
        if not self.path.parent.is_dir():
            raise InputError(f"cache: the folder {str(self.path.parent)!r} does not exist; make it first")
        connection = sqlite3.connect(self.path, timeout=self._timeout, isolation_level=None, check_same_thread=False)
        try:
            # The busy handler does not cover a change of journal mode: under another process's write it may fail, and the mode is then set.
            if connection.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
                connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=NORMAL")
            connection.execute("BEGIN IMMEDIATE")
            mark = (connection.execute("PRAGMA application_id").fetchone()[0], connection.execute("PRAGMA user_version").fetchone()[0])
            tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
            if mark == (0, 0) and tables == 0:
                connection.execute("CREATE TABLE answers (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID")
                connection.execute(f"PRAGMA application_id={_APPLICATION}")
                connection.execute(f"PRAGMA user_version={_VERSION}")
            elif mark != (_APPLICATION, _VERSION):
                raise InputError(f"cache: {str(self.path)!r} is another database, or of another version {mark}; choose another path")
            connection.execute("COMMIT")
        except sqlite3.OperationalError:
            connection.close()
            raise
        except sqlite3.DatabaseError as error:
            connection.close()
            raise InputError(f"cache: {str(self.path)!r} is not a cache of answers ({error}); choose another path") from error
        except InputError:
            connection.close()
            raise
        self._connection, self._pid = connection, os.getpid()
        return connection

    def get_many(self, keys: Sequence[str]) -> dict[str, Any]:
        """The values of those keys that are there."""
        found: dict[str, Any] = {}
        with self._lock:
            connection = self._open()
            for start in range(0, len(keys), _AT_ONCE):
                part = list(keys[start : start + _AT_ONCE])
                marks = ",".join("?" * len(part))
                rows: Iterable[tuple[str, str]] = connection.execute(f"SELECT key, value FROM answers WHERE key IN ({marks})", part)  # noqa: S608  # only question marks
                found.update((key, json.loads(value)) for key, value in rows)
        return found

    def put(self, key: str, value: Any) -> Any:
        """Store a value and return the one that is now stored: an earlier one, perhaps of another process, stays."""
        text = json.dumps(value, ensure_ascii=True, allow_nan=False)
        with self._lock:
            connection = self._open()
            fresh = connection.execute("INSERT OR IGNORE INTO answers VALUES (?, ?)", (key, text)).rowcount
            if not fresh:
                text = connection.execute("SELECT value FROM answers WHERE key = ?", (key,)).fetchone()[0]
        return json.loads(text)

    def close(self) -> None:
        """Close the connection; the next use opens it again."""
        with self._lock:
            if self._connection is not None and self._pid == os.getpid():
                self._connection.close()
            self._connection = None
