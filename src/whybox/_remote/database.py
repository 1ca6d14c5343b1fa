"""A SQLite file that threads, processes and forks share: one connection a process, in WAL mode, committed with every write."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from whybox.errors import WhyboxError

_APPLICATION = 0x57424F58  # "WBOX"
_AT_ONCE = 500


class Database:
    """The file under a cache of answers.

    A process that is killed loses nothing that was written. Processes that are forked open a connection of their own.

    Args:
        path: the file; made if it does not exist, its folder must exist.
        version: of what it holds; a file of another version is refused.
        table: the statement that makes its table.
        error: what is raised where the file is something else.
        timeout: seconds to wait for another process's write. Default 60.

    Raises:
        WhyboxError: of the kind given, if the file is something else.
    """

    def __init__(self, path: str | os.PathLike[str], version: int, table: str, error: type[WhyboxError], *, timeout: float = 60.0) -> None:
        self.path = Path(path)
        self._version, self._table, self._error, self._timeout = version, table, error, timeout
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        self._pid = -1
        with self._lock:
            self._open()

    def __del__(self) -> None:
        connection = getattr(self, "_connection", None)
        if connection is not None and self._pid == os.getpid():
            connection.close()

    @contextmanager
    def use(self) -> Iterator[sqlite3.Connection]:
        """The connection of this process, for one thread at a time."""
        with self._lock:
            yield self._open()

    def close(self) -> None:
        """Close the connection; the next use opens it again."""
        with self._lock:
            if self._connection is not None and self._pid == os.getpid():
                self._connection.close()
            self._connection = None

    def _open(self) -> sqlite3.Connection:
        if self._connection is not None and self._pid == os.getpid():
            return self._connection
        if not self.path.parent.is_dir():
            raise self._error(f"cache: the folder {str(self.path.parent)!r} does not exist; make it first")
        try:
            connection = sqlite3.connect(self.path, timeout=self._timeout, isolation_level=None, check_same_thread=False)
        except sqlite3.DatabaseError as error:
            raise self._error(f"cache: {str(self.path)!r} is not a whybox cache ({error}); choose another path") from error
        try:
            self._prepare(connection)
        except sqlite3.OperationalError:
            connection.close()
            raise
        except sqlite3.DatabaseError as error:
            connection.close()
            raise self._error(f"cache: {str(self.path)!r} is not a whybox cache ({error}); choose another path") from error
        except WhyboxError:
            connection.close()
            raise
        self._connection, self._pid = connection, os.getpid()
        return connection

    def _prepare(self, connection: sqlite3.Connection) -> None:
        # The busy handler does not cover a change of journal mode: under another process's write it may fail, and the mode is then set.
        if connection.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
            connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=NORMAL")
        connection.execute("BEGIN IMMEDIATE")
        mark = tuple(connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("application_id", "user_version"))
        tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        if mark == (0, 0) and tables == 0:
            connection.execute(self._table)
            connection.execute(f"PRAGMA application_id={_APPLICATION}")
            connection.execute(f"PRAGMA user_version={self._version}")
        elif mark != (_APPLICATION, self._version):
            raise self._error(f"cache: {str(self.path)!r} is another database, or of another version {mark}; choose another path")
        connection.execute("COMMIT")

    def found(self, statement: str, keys: list[Any]) -> Iterator[tuple[Any, ...]]:
        """Rows of a statement that ends with the keys: ``... IN ({})``.

        Args:
            statement: with ``{}`` where the question marks go.
            keys: any number.
        """
        with self.use() as connection:
            for start in range(0, len(keys), _AT_ONCE):
                part = keys[start : start + _AT_ONCE]
                yield from connection.execute(statement.format(",".join("?" * len(part))), part)
