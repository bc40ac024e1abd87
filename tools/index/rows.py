"""The lines of an index in SQLite, with their vectors, and what they cost."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from sqlite3 import Connection
from typing import Any, NamedTuple
from zlib import crc32

import numpy as np

from tools.embedder import Vectors
from tools.index.database import Database
from tools.line import Line, Source

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


class Row(NamedTuple):
    """A line as stored. The vector is in half precision; None if it was not asked for."""

    number: int
    line: Line
    vector: bytes | None


class Rows:
    """One database. Without a path it is in memory. Safe under threads and processes. Raises IndexDown."""

    def __init__(self, path: Path | None = None) -> None:
        self._database = Database(path, _SCHEMA)

    def after(self, number: int, vectors_after: int = 0) -> list[Row]:
        """All lines with a higher number, by number, those above the second number with their vectors.

        Left out are lines that are not what was written, by their checksums.
        """
        with self._database.connected() as connection:
            found = connection.execute(_READ, (vectors_after, number)).fetchall()
        return [Row(each[0], Line(*each[1:7]), each[7]) for each in found if _sound(each)]

    def put(self, lines: Sequence[Line], vectors: Vectors, cost: Mapping[str, float] | None = None) -> None:
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

    def replace(self, source: Source, lines: Sequence[Line], vectors: Vectors) -> None:
        """Keep lines in place of all that came from the same source. Begins a new era."""
        with self._database.transaction() as connection:
            connection.execute("DELETE FROM line WHERE source = ?", (source,))
            connection.executemany(_WRITE, _values(lines, vectors))
            connection.execute("INSERT OR REPLACE INTO fact VALUES ('era', ?)", (str(self._era(connection) + 1),))

    def era(self) -> int:
        """How often lines were removed: what was read in another era is not what is there."""
        with self._database.connected() as connection:
            return self._era(connection)

    def fail(self, clip: str, reason: str) -> None:
        """Note that nothing can be written about a clip, and why."""
        with self._database.transaction() as connection:
            connection.execute("INSERT OR REPLACE INTO failure VALUES (?, ?)", (clip, reason))

    def failures(self) -> dict[str, str]:
        """The clips that nothing could be written about, and why."""
        with self._database.connected() as connection:
            return dict(connection.execute("SELECT clip, reason FROM failure"))

    def forgive(self) -> None:
        """Forget all failures, to try again."""
        with self._database.transaction() as connection:
            connection.execute("DELETE FROM failure")

    def tally(self) -> dict[tuple[str, float], int]:
        """How many lines there are, by where they come from and the seconds of their clips."""
        with self._database.connected() as connection:
            found = connection.execute("SELECT source, level, count(*) FROM line GROUP BY source, level")
            return {(source, level): count for source, level, count in found}

    def cost(self) -> dict[str, float]:
        """What was spent on this index."""
        with self._database.connected() as connection:
            return dict(connection.execute("SELECT name, amount FROM cost"))

    def facts(self) -> dict[str, str]:
        """What is noted about the whole."""
        with self._database.connected() as connection:
            return dict(connection.execute("SELECT name, value FROM fact"))

    def note(self, **facts: str) -> None:
        """Note something about the whole."""
        with self._database.transaction() as connection:
            connection.executemany("INSERT OR REPLACE INTO fact VALUES (?, ?)", list(facts.items()))

    def _era(self, connection: Connection) -> int:
        found = connection.execute("SELECT value FROM fact WHERE name = 'era'").fetchone()
        return int(found[0]) if found else 0


def _values(lines: Sequence[Line], vectors: Vectors) -> list[tuple[Any, ...]]:
    halves = [half.tobytes() for half in vectors.astype(np.float16)]
    fields = map(_fields, lines)
    return [(*each, half, _check(*each), crc32(half)) for each, half in zip(fields, halves, strict=True)]


def _fields(line: Line) -> tuple[str, float, float, str, str, float]:
    return line.id, float(line.start), float(line.end), line.text, line.source, float(line.level)


def _check(*fields: object) -> int:
    """A checksum, since SQLite has none."""
    return crc32(repr(fields).encode())


def _sound(found: tuple[Any, ...]) -> bool:
    _, *fields, vector, line_check, vector_check = found
    return _check(*fields) == line_check and (vector is None or crc32(vector) == vector_check)
