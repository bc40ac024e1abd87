"""Index entries in SQLite, with their vectors and what they cost. Safe under threads and processes."""

import sqlite3
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from sqlite3 import Connection
from threading import RLock
from typing import Any, NamedTuple
from zlib import crc32

import numpy as np

from tools.index.embedder import Embeddings
from tools.index.entries import EntrySource, IndexEntry

_LOCK_SECONDS = 30.0
"""Seconds to wait for another's transaction."""


class IndexUnavailable(Exception):
    """The index cannot be read or written: no room on the disk, or the file system fails."""


class IndexDamaged(IndexUnavailable):
    """The file is no database, or no longer."""


class SqliteDatabase:
    """Tables made by a schema. Raises IndexUnavailable from all it does. `lasting`: whether a power cut may take it."""

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
            connection = sqlite3.connect(place, timeout=_LOCK_SECONDS, isolation_level=None, uri=True)
            try:
                if not self._lasting:
                    connection.execute("PRAGMA synchronous = OFF")
                yield connection
            finally:
                connection.close()
        except sqlite3.OperationalError as error:
            raise IndexUnavailable(f"The index cannot be read or written: {error}.") from error
        except sqlite3.DatabaseError as error:
            raise IndexDamaged(f"The index is damaged: {error}.") from error

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


_SCHEMA = """
CREATE TABLE IF NOT EXISTS line (
    number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, start REAL NOT NULL, "end" REAL NOT NULL,
    text TEXT NOT NULL, source TEXT NOT NULL, level REAL NOT NULL, vector BLOB NOT NULL,
    line_check INTEGER NOT NULL, vector_check INTEGER NOT NULL
) STRICT;
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


class EntryRow(NamedTuple):
    """A line as stored. The vector is in half precision; None if it was not asked for."""

    number: int
    line: IndexEntry
    vector: bytes | None


class EntryStore:
    """One database. Without a path it is in memory. Safe under threads and processes. Raises IndexUnavailable."""

    def __init__(self, path: Path | None = None) -> None:
        self._database = SqliteDatabase(path, _SCHEMA)

    def after(self, number: int, vectors_after: int = 0) -> list[EntryRow]:
        """All lines with a higher number, by number, those above the second number with their vectors.

        Left out are lines that are not what was written, by their checksums.
        """
        with self._database.connected() as connection:
            found = connection.execute(_READ, (vectors_after, number)).fetchall()
        return [EntryRow(each[0], IndexEntry(*each[1:7]), each[7]) for each in found if _is_intact(each)]

    def put(self, lines: Sequence[IndexEntry], vectors: Embeddings, cost: Mapping[str, float] | None = None) -> None:
        """Keep lines, each with its vector, at once or not at all; a line replaces the one with the same id.

        `cost` is added to what was spent on this index so far.
        """
        with self._database.transaction() as connection:
            connection.executemany(_WRITE, _values(lines, vectors))
            connection.executemany("DELETE FROM failure WHERE clip = ?", [(line.id,) for line in lines])
            connection.executemany(
                "INSERT INTO cost VALUES (?, ?) ON CONFLICT DO UPDATE SET amount = amount + excluded.amount",
                list((cost or {}).items()),
            )

    def replace(self, source: EntrySource, lines: Sequence[IndexEntry], vectors: Embeddings) -> None:
        """Keep lines in place of all that came from the same source. Begins a new generation."""
        with self._database.transaction() as connection:
            connection.execute("DELETE FROM line WHERE source = ?", (source,))
            connection.executemany(_WRITE, _values(lines, vectors))
            connection.execute(
                "INSERT OR REPLACE INTO fact VALUES ('era', ?)", (str(self._generation(connection) + 1),)
            )

    def generation(self) -> int:
        """How often entries were removed; entries that were read in another generation may be gone."""
        with self._database.connected() as connection:
            return self._generation(connection)

    def fail(self, clip: str, reason: str) -> None:
        """Record why a clip cannot be captioned."""
        with self._database.transaction() as connection:
            connection.execute("INSERT OR REPLACE INTO failure VALUES (?, ?)", (clip, reason))

    def failures(self) -> dict[str, str]:
        """Why clips could not be captioned, by clip id."""
        with self._database.connected() as connection:
            return dict(connection.execute("SELECT clip, reason FROM failure"))

    def clear_failures(self) -> None:
        """Forget all failures, so that the clips are tried again."""
        with self._database.transaction() as connection:
            connection.execute("DELETE FROM failure")

    def count_by_source(self) -> dict[tuple[str, float], int]:
        """How many lines there are, by where they come from and the seconds of their clips."""
        with self._database.connected() as connection:
            found = connection.execute("SELECT source, level, count(*) FROM line GROUP BY source, level")
            return {(source, level): count for source, level, count in found}

    def cost(self) -> dict[str, float]:
        """Cost of this index so far, by name."""
        with self._database.connected() as connection:
            return dict(connection.execute("SELECT name, amount FROM cost"))

    def facts(self) -> dict[str, str]:
        """Facts recorded about the whole index."""
        with self._database.connected() as connection:
            return dict(connection.execute("SELECT name, value FROM fact"))

    def note(self, **facts: str) -> None:
        """Record facts about the whole index."""
        with self._database.transaction() as connection:
            connection.executemany("INSERT OR REPLACE INTO fact VALUES (?, ?)", list(facts.items()))

    def _generation(self, connection: Connection) -> int:
        found = connection.execute("SELECT value FROM fact WHERE name = 'era'").fetchone()
        return int(found[0]) if found else 0


def _values(lines: Sequence[IndexEntry], vectors: Embeddings) -> list[tuple[Any, ...]]:
    halves = [half.tobytes() for half in vectors.astype(np.float16)]
    fields = map(_fields, lines)
    return [(*each, half, _checksum(*each), crc32(half)) for each, half in zip(fields, halves, strict=True)]


def _fields(line: IndexEntry) -> tuple[str, float, float, str, str, float]:
    return line.id, float(line.start), float(line.end), line.text, line.source, float(line.level)


def _checksum(*fields: object) -> int:
    """A checksum, since SQLite has none."""
    return crc32(repr(fields).encode())


def _is_intact(found: tuple[Any, ...]) -> bool:
    _, *fields, vector, line_check, vector_check = found
    return _checksum(*fields) == line_check and (vector is None or crc32(vector) == vector_check)


def modified_at(file: Path) -> float:
    try:
        return file.stat().st_mtime
    except OSError:
        return time.time()


def file_size(file: Path) -> int:
    try:
        return file.stat().st_size
    except OSError:
        return 0
