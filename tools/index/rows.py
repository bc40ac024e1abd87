"""The lines of an index in SQLite, with their vectors and with who is writing which."""

import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import RLock
from typing import Any, NamedTuple
from zlib import crc32

import numpy as np

from tools.embedder import Vectors
from tools.line import Line

_PATIENCE = 30.0
"""Seconds to wait for another's transaction."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS line (
    number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, start REAL NOT NULL, "end" REAL NOT NULL,
    text TEXT NOT NULL, source TEXT NOT NULL, level REAL NOT NULL, vector BLOB NOT NULL,
    line_check INTEGER NOT NULL, vector_check INTEGER NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS claim (clip TEXT PRIMARY KEY, owner TEXT NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS failure (clip TEXT PRIMARY KEY, reason TEXT NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS fact (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS cost (name TEXT PRIMARY KEY, amount REAL NOT NULL) STRICT;
"""
_READ = """
SELECT number, id, start, "end", text, source, level, CASE WHEN number > ? THEN vector END, line_check, vector_check
FROM line WHERE number > ? ORDER BY number
"""
_WRITE = """
INSERT OR REPLACE INTO line (id, start, "end", text, source, level, vector, line_check, vector_check)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
"""


class IndexDown(Exception):
    """The index cannot be read or written: no room on the disk, or the file system fails."""


class Damaged(IndexDown):
    """The file is no database, or no longer."""


class Row(NamedTuple):
    """A line as stored. The vector is in half precision; None if it was not asked for."""

    number: int
    line: Line
    vector: bytes | None


class Rows:
    """One database. Without a path it is in memory and ends with this object. Safe under threads and processes."""

    def __init__(self, path: Path | None = None) -> None:
        self.path = path
        self._lock = RLock()
        self._memory = None if path else sqlite3.connect(":memory:", check_same_thread=False, isolation_level=None)
        with self._connected("rwc") as connection:
            connection.executescript(_SCHEMA)

    def after(self, number: int, vectors_after: int = 0) -> list[Row]:
        """All lines with a higher number, by number, those above the second number with their vectors.

        Left out are lines that are not what was written, by their checksums.
        """
        with self._connected() as connection:
            found = connection.execute(_READ, (vectors_after, number)).fetchall()
        return [Row(each[0], Line(*each[1:7]), each[7]) for each in found if _sound(each)]

    def put(self, lines: Sequence[Line], vectors: Vectors, cost: Mapping[str, float] | None = None) -> None:
        """Keep lines, each with its vector, at once or not at all; a line replaces the one with the same id.

        `cost` is added to what was spent on this index so far.
        """
        halves = vectors.astype(np.float16)
        values = [
            (*fields, half.tobytes(), _check(*fields), crc32(half.tobytes()))
            for fields, half in zip(map(_fields, lines), halves, strict=True)
        ]
        with self._transaction() as connection:
            connection.executemany(_WRITE, values)
            connection.executemany("DELETE FROM failure WHERE clip = ?", [(line.id,) for line in lines])
            connection.executemany(
                "INSERT INTO cost VALUES (?, ?) ON CONFLICT DO UPDATE SET amount = amount + excluded.amount",
                list((cost or {}).items()),
            )

    def claim(self, clip: str, owner: str, lives: Callable[[str], bool]) -> bool:
        """Whether `owner` may write this clip: nobody has, and nobody who still lives is about to."""
        with self._transaction() as connection:
            if connection.execute("SELECT 1 FROM line WHERE id = ?", (clip,)).fetchone():
                return False
            holder = connection.execute("SELECT owner FROM claim WHERE clip = ?", (clip,)).fetchone()
            if holder and lives(holder[0]):
                return False
            connection.execute("INSERT OR REPLACE INTO claim VALUES (?, ?)", (clip, owner))
        return True

    def release(self, clip: str, owner: str) -> None:
        """Let others write this clip."""
        with self._transaction() as connection:
            connection.execute("DELETE FROM claim WHERE clip = ? AND owner = ?", (clip, owner))

    def fail(self, clip: str, reason: str) -> None:
        """Note that nothing can be written about a clip, and why."""
        with self._transaction() as connection:
            connection.execute("INSERT OR REPLACE INTO failure VALUES (?, ?)", (clip, reason))

    def failures(self) -> dict[str, str]:
        """The clips that nothing could be written about, and why."""
        with self._connected() as connection:
            return dict(connection.execute("SELECT clip, reason FROM failure"))

    def forgive(self) -> None:
        """Forget all failures, to try again."""
        with self._transaction() as connection:
            connection.execute("DELETE FROM failure")

    def cost(self) -> dict[str, float]:
        """What was spent on this index."""
        with self._connected() as connection:
            return dict(connection.execute("SELECT name, amount FROM cost"))

    def facts(self) -> dict[str, str]:
        """What is noted about the whole."""
        with self._connected() as connection:
            return dict(connection.execute("SELECT name, value FROM fact"))

    def note(self, **facts: str) -> None:
        """Note something about the whole."""
        with self._transaction() as connection:
            connection.executemany("INSERT OR REPLACE INTO fact VALUES (?, ?)", list(facts.items()))

    @contextmanager
    def _connected(self, mode: str = "rw") -> Iterator[sqlite3.Connection]:
        try:
            if self._memory is not None:
                with self._lock:
                    yield self._memory
                return
            place = f"{(self.path or Path()).absolute().as_uri()}?mode={mode}"
            connection = sqlite3.connect(place, timeout=_PATIENCE, isolation_level=None, uri=True)
            try:
                yield connection
            finally:
                connection.close()
        except sqlite3.OperationalError as error:
            raise IndexDown(f"The index cannot be read or written: {error}.") from error
        except sqlite3.DatabaseError as error:
            raise Damaged(f"The index is damaged: {error}.") from error

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._connected() as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
            except BaseException:
                if connection.in_transaction:  # SQLite itself rolls back when the disk is full
                    connection.execute("ROLLBACK")
                raise
            connection.execute("COMMIT")


def _fields(line: Line) -> tuple[str, float, float, str, str, float]:
    return line.id, float(line.start), float(line.end), line.text, line.source, float(line.level)


def _check(*fields: object) -> int:
    """A checksum, since SQLite has none."""
    return crc32(repr(fields).encode())


def _sound(found: tuple[Any, ...]) -> bool:
    _, *fields, vector, line_check, vector_check = found
    return _check(*fields) == line_check and (vector is None or crc32(vector) == vector_check)
