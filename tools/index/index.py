"""The lines of one film: kept, found, and claimed by whoever writes them."""

import logging
import os
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from threading import RLock
from typing import Literal

from tools.clips import Clip, clips
from tools.embedder import Embedder, HashedEmbedder
from tools.index.presence import Presence
from tools.index.rows import Damaged, IndexDown, Rows
from tools.index.vectors import Vectors, WrongVectors
from tools.index.view import View
from tools.line import Hit, Line, Source
from tools.moment import Span

_LOG = logging.getLogger("secondlook.index")
_SPOKEN: tuple[Source, ...] = ("subtitle",)
_ROWS, _VECTORS = "rows.sqlite", "vectors.faiss"
_CHANGES = struct.Struct(">24xI")
"""Where SQLite counts the changes of a file."""
LONGEST = 2000
"""Characters of a line; what is longer is cut."""


class IndexFull(Exception):
    """The index holds as many lines as it may."""


class Index:
    """What is known in words of one film. Safe under threads and processes; blocks for milliseconds.

    Without a folder it is in memory and ends with this object. In a folder, others may write into it at the same
    time: each search sees what has been written so far. At most `most` lines. Raises IndexDown.
    """

    def __init__(
        self,
        duration: float,
        lines: Sequence[Line] = (),
        embedder: Embedder | None = None,
        *,
        folder: Path | None = None,
        presence: Presence | None = None,
        most: int = 200_000,
    ) -> None:
        self.duration = duration
        self.embedder = embedder or HashedEmbedder()
        self._folder = folder
        self._presence = presence
        self._most = most
        self._lock = RLock()
        self._changes = -1
        self._unsaved = 0
        self._rows, self._view = _read(folder)
        self.add(lines)

    def search(
        self,
        query: str,
        k: int = 8,
        *,
        span: Span | None = None,
        level: float | None = None,
        sources: tuple[Source, ...] = (),
        distinct: bool = True,
        by: Literal["both", "words"] = "both",
    ) -> tuple[Hit, ...]:
        """The k lines nearest to a query, best first.

        Only lines that overlap `span`, are captions of clips of `level` seconds, and come from one of `sources`,
        where these are given. `distinct`: of lines that follow on each other and say the same, only the best.
        By words alone, the embedder is not needed; else raises what it raises.
        """
        vector = self.embedder.embed([query])[0] if by == "both" else None
        with self._lock:
            self._refresh()
            mask = self._view.table.mask(span, level, sources)
            return self._view.search(query, vector, k, mask, distinct)

    def lines(
        self, span: Span | None = None, *, level: float | None = None, sources: tuple[Source, ...] = ()
    ) -> tuple[Line, ...]:
        """All lines that fit, in order of time. The same filters as `search`."""
        with self._lock:
            self._refresh()
            return tuple(self._view.table.lines(self._view.table.mask(span, level, sources)))

    def subtitles(self, span: Span | None = None) -> tuple[Line, ...]:
        """What is said, in order of time."""
        return self.lines(span, sources=_SPOKEN)

    def missing(self, level: float, span: Span | None = None) -> tuple[Clip, ...]:
        """The clips of a level that have no caption, in order of time; those that failed count as missing too."""
        with self._lock:
            self._refresh()
            return tuple(clip for clip in clips(self.duration, level, span) if clip.id not in self._view.table)

    def coverage(self, level: float, span: Span | None = None) -> float:
        """Which part, in [0, 1], of a level's clips has captions."""
        return 1 - len(self.missing(level, span)) / len(clips(self.duration, level, span))

    def __len__(self) -> int:
        with self._lock:
            self._refresh()
            return len(self._view.table)

    def add(self, lines: Sequence[Line], cost: Mapping[str, float] | None = None) -> None:
        """Keep some lines, all or none. A line whose id is known replaces the former one.

        `cost`: what they took, added to the bill of this index. When this returns, they last. Raises IndexFull, and
        what the embedder raises.
        """
        if not lines:
            return
        if self._with(lines) > self._most:
            raise IndexFull(f"This video's index holds {self._most} lines at most.")
        short = [_cut(line) for line in lines]
        vectors = self.embedder.embed([line.text for line in short])
        with self._lock:
            self._rows.put(short, vectors, cost)
            self._unsaved += len(short)
            self._refresh()

    def claim(self, clip: Clip) -> bool:
        """Whether the caller is to write this clip now: it is not there, and nobody else is at it."""
        lives = self._presence.lives if self._presence else _nobody_dies
        return self._rows.claim(clip.id, self._name, lives)

    def release(self, clip: Clip) -> None:
        """The caller is no longer at this clip."""
        self._rows.release(clip.id, self._name)

    def fail(self, clip: Clip, reason: str) -> None:
        """Note that nothing can be written about a clip, and why."""
        self._rows.fail(clip.id, reason)

    def failures(self) -> dict[str, str]:
        """Ids of clips that nothing could be written about, and why."""
        return self._rows.failures()

    def forgive(self) -> None:
        """Forget all failures, to try again."""
        self._rows.forgive()

    def cost(self) -> dict[str, float]:
        """What was spent on the lines, by the names given to `add`."""
        return self._rows.cost()

    def facts(self) -> dict[str, str]:
        """What was noted about the whole."""
        return self._rows.facts()

    def note(self, **facts: str) -> None:
        """Note something about the whole."""
        self._rows.note(**facts)

    def save(self) -> None:
        """Write the vectors as faiss's file, so that opening is quick. They are in the rows all along."""
        with self._lock:
            self._refresh()
            if self._folder is None or self._view.vectors is None or not self._unsaved:
                return
            try:
                digest = self._view.vectors.write(self._folder / _VECTORS)
            except OSError as error:
                raise IndexDown(f"The index cannot be written: {error}.") from error
            self._rows.note(vectors=digest, vectors_until=str(self._view.last))
            self._unsaved = 0

    def _with(self, lines: Sequence[Line]) -> int:
        """How many lines there will be with these."""
        with self._lock:
            self._refresh()
            return len(self._view.table) + sum(line.id not in self._view.table for line in lines)

    @property
    def _name(self) -> str:
        return self._presence.name if self._presence else "me"

    def _refresh(self) -> None:
        """Take in what others have written since."""
        changes = _changes(self._folder)
        if changes != self._changes or self._folder is None:
            self._view.take(self._rows.after(self._view.last, self._view.last))
            self._changes = changes


def _read(folder: Path | None) -> tuple[Rows, View]:
    """The rows of a folder and a view of them. A damaged file is put aside and begun anew."""
    if folder is None:
        return Rows(), View()
    folder.mkdir(parents=True, exist_ok=True)
    try:
        return _viewed(folder)
    except Damaged:
        _LOG.exception("the index in %s is damaged: it is put aside and begun anew", folder)
        (folder / _ROWS).replace(folder / f"{_ROWS}.damaged")
        (folder / _VECTORS).unlink(missing_ok=True)
        return _viewed(folder)


def _viewed(folder: Path) -> tuple[Rows, View]:
    rows = Rows(folder / _ROWS)
    facts = rows.facts()
    known, until = None, 0
    if "vectors" in facts:
        try:
            known, until = Vectors.read(folder / _VECTORS, facts["vectors"]), int(facts["vectors_until"])
        except WrongVectors as error:
            _LOG.warning("%s: they are made again from the rows in %s", error, folder)
    view = View(known)
    view.take(rows.after(0, until))
    view.tidy()
    return rows, view


def _changes(folder: Path | None) -> int:
    """How often a database was changed; less than 0 if nobody can say."""
    if folder is None:
        return -1
    try:
        file = os.open(folder / _ROWS, os.O_RDONLY)
    except OSError as error:
        raise IndexDown("The index is no longer there.") from error
    try:
        head = os.pread(file, _CHANGES.size, 0)
    finally:
        os.close(file)
    return int(_CHANGES.unpack(head)[0]) if len(head) == _CHANGES.size else -1


def _cut(line: Line) -> Line:
    """The line itself, not a kind of line, and not longer than it may be."""
    return Line(line.id, line.start, line.end, line.text[:LONGEST], line.source, line.level)


def _nobody_dies(_: str) -> bool:
    return True
