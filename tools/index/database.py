"""A file of SQLite's, or none but memory, opened for each piece of work. Safe under threads and processes."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import RLock

_PATIENCE = 30.0
"""Seconds to wait for another's transaction."""


class IndexDown(Exception):
    """The index cannot be read or written: no room on the disk, or the file system fails."""


class Damaged(IndexDown):
    """The file is no database, or no longer."""


class Database:
    """Tables made by a schema. Raises IndexDown from all it does. `lasting`: whether a power cut may take it."""

    def __init__(self, path: Path | None, schema: str, *, lasting: bool = True) -> None:
        self._path = path
        self._lasting = lasting
        self._lock = RLock()
        self._memory = None if path else sqlite3.connect(":memory:", check_same_thread=False, isolation_level=None)
        with self.connected("rwc") as connection:
            connection.executescript(schema)

    @contextmanager
    def connected(self, mode: str = "rw") -> Iterator[sqlite3.Connection]:
        """A connection; a file that is gone is not made again."""
        try:
            if self._memory is not None:
                with self._lock:
                    yield self._memory
                return
            place = f"{(self._path or Path()).absolute().as_uri()}?mode={mode}"
            connection = sqlite3.connect(place, timeout=_PATIENCE, isolation_level=None, uri=True)
            try:
                if not self._lasting:
                    connection.execute("PRAGMA synchronous = OFF")
                yield connection
            finally:
                connection.close()
        except sqlite3.OperationalError as error:
            raise IndexDown(f"The index cannot be read or written: {error}.") from error
        except sqlite3.DatabaseError as error:
            raise Damaged(f"The index is damaged: {error}.") from error

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """A connection whose changes are made all or not at all, as if nobody else made any at the time."""
        with self.connected() as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
            except BaseException:
                if connection.in_transaction:  # SQLite itself rolls back when the disk is full
                    connection.execute("ROLLBACK")
                raise
            connection.execute("COMMIT")
