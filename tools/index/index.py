"""The text index of one video: add, search and lease its entries."""

import logging
import os
import struct
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from threading import RLock
from typing import Literal

from tools.index.embedder import Embedder, EmbedderUnavailable, HashedEmbedder
from tools.index.entries import EntrySource, Hit, IndexEntry, VideoClip, split_into_clips
from tools.index.leases import Leases, ProcessLiveness
from tools.index.search import SearchIndex, VectorFileMismatch, VectorIndex
from tools.index.storage import EntryStore, IndexDamaged, IndexUnavailable
from tools.video.limits import BadVideo, DecodingStopped
from tools.video.sampling import Span

_LOG = logging.getLogger("secondlook.index")
ENTRIES_FILE, VECTORS_FILE, LEASES_FILE = "rows.sqlite", "vectors.faiss", "claims.sqlite"
_CHANGE_COUNTER = struct.Struct(">24xI")
"""Where SQLite counts the changes of a file."""


class IndexStore:
    """The rows of a folder, or of none, and a view of them. Not safe under threads. Raises IndexUnavailable."""

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder
        self._changes = -1
        self.rows, self.view = _load(folder)
        self._generation = self.rows.generation()
        self.claims = Leases(folder / LEASES_FILE if folder else None)
        self._saved = self.view.last if self.view.vectors is not None and self._is_saved() else 0

    def refresh(self) -> None:
        """Take in what was written since, by whomever."""
        now = change_count(self._folder) if self._folder else -1
        if now < 0 or now != self._changes:
            generation = self.rows.generation()
            if generation != self._generation:
                self.view, self._generation, self._saved = SearchIndex(), generation, 0
            self.view.add(self.rows.after(self.view.last, self.view.last))
            self._changes = now

    def save(self) -> None:
        """Write the vectors as faiss's file, so that opening is quick. They are in the rows all along."""
        self.refresh()
        if self._folder is None or self.view.vectors is None or self.view.last == self._saved:
            return
        try:
            digest = self.view.vectors.write(self._folder / VECTORS_FILE)
        except OSError as error:
            raise IndexUnavailable(f"The index cannot be written: {error}.") from error
        self.rows.note(vectors=digest, vectors_until=str(self.view.last))
        self._saved = self.view.last

    def _is_saved(self) -> bool:
        return self.rows.facts().get("vectors_until") == str(self.view.last)


def _load(folder: Path | None) -> tuple[EntryStore, SearchIndex]:
    """A damaged file is put aside and begun anew: all that is in it can be made again."""
    if folder is None:
        return EntryStore(), SearchIndex()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return _load_search_index(folder)
    except OSError as error:
        raise IndexUnavailable(f"The index cannot be read or written: {error}.") from error
    except IndexDamaged as damaged:
        set_aside_damaged(folder, damaged)
        return _load_search_index(folder)


def set_aside_damaged(folder: Path, damaged: IndexDamaged) -> None:
    """Make room for new files in place of damaged ones."""
    _LOG.error("%s It is put aside, in %s, and begun anew.", damaged, folder)
    (folder / ENTRIES_FILE).replace(folder / f"{ENTRIES_FILE}.damaged")
    (folder / VECTORS_FILE).unlink(missing_ok=True)


def _load_search_index(folder: Path) -> tuple[EntryStore, SearchIndex]:
    rows = EntryStore(folder / ENTRIES_FILE)
    facts = rows.facts()
    known, until = None, 0
    if "vectors" in facts:
        try:
            known, until = VectorIndex.read(folder / VECTORS_FILE, facts["vectors"]), int(facts["vectors_until"])
        except VectorFileMismatch as error:
            _LOG.warning("%s: they are made again from the rows in %s", error, folder)
    view = SearchIndex(known)
    view.add(rows.after(0, until))
    view.drop_orphans()
    return rows, view


def change_count(folder: Path) -> int:
    """How often the database was changed; less than 0 if it does not say."""
    try:
        file = os.open(folder / ENTRIES_FILE, os.O_RDONLY)
    except OSError as error:
        raise IndexUnavailable("The index is no longer there.") from error
    try:
        head = os.pread(file, _CHANGE_COUNTER.size, 0)
    finally:
        os.close(file)
    return int(_CHANGE_COUNTER.unpack(head)[0]) if len(head) == _CHANGE_COUNTER.size else -1


_SPOKEN: tuple[EntrySource, ...] = ("subtitle",)
SearchBy = Literal["both", "words"]
"""By what lines are found: by the nearness of vectors and by words, or by words alone."""
SubtitleReader = Callable[[], Sequence[IndexEntry]]
"""Reads what is said in a video. Raises BadVideo, DecodingStopped."""
MAX_ENTRY_CHARACTERS = 2000
"""Characters of a line; what is longer is cut."""
MAX_ENTRIES = 200_000
"""Lines of one video."""


class IndexFull(Exception):
    """The index holds as many lines as it may."""


class Index:
    """The text index of one video. Safe under threads and processes; blocks for milliseconds.

    Without a folder it is in memory and ends with this object. In a folder, others may write into it at the same
    time: each search sees what has been written so far. It is opened when first used, after `begin` has been called.
    At most `most` lines. Every method raises IndexUnavailable.
    """

    def __init__(
        self,
        duration: float,
        lines: Sequence[IndexEntry] = (),
        embedder: Embedder | None = None,
        *,
        folder: Path | None = None,
        presence: ProcessLiveness | None = None,
        most: int = MAX_ENTRIES,
        begin: Callable[[], None] | None = None,
    ) -> None:
        self.duration = duration
        self.embedder = embedder or HashedEmbedder()
        self._folder = folder
        self._presence = presence
        self._most = most
        self._begin = begin
        self._hear: SubtitleReader | None = None
        self._lock = RLock()
        self._store: IndexStore | None = None
        self.add(lines)

    def search(
        self,
        query: str,
        k: int = 8,
        *,
        span: Span | None = None,
        level: float | None = None,
        sources: tuple[EntrySource, ...] = (),
        distinct: bool = True,
        by: SearchBy = "both",
    ) -> tuple[Hit, ...]:
        """The k lines nearest to a query, best first.

        Only lines that overlap `span`, are captions of clips of `level` seconds, and come from one of `sources`,
        where these are given. `distinct`: of lines that follow on each other and say the same, only the best.
        By words alone, the embedder is not needed; else raises EmbedderUnavailable.
        """
        vector = self.embedder.embed([query])[0] if by == "both" else None
        with self._lock:
            view = self._opened().view
            return view.search(query, vector, k, view.table.mask(span, level, sources), distinct)

    def lines(
        self, span: Span | None = None, *, level: float | None = None, sources: tuple[EntrySource, ...] = ()
    ) -> tuple[IndexEntry, ...]:
        """All lines that fit, in order of time. The same filters as `search`."""
        with self._lock:
            table = self._opened().view.table
            return tuple(table.lines(table.mask(span, level, sources)))

    def subtitles(self, span: Span | None = None) -> tuple[IndexEntry, ...]:
        """What is said, in order of time."""
        return self.lines(span, sources=_SPOKEN)

    def missing(self, level: float, span: Span | None = None) -> tuple[VideoClip, ...]:
        """The clips of a level that have no caption, in order of time; those that failed count as missing too."""
        with self._lock:
            table = self._opened().view.table
            return tuple(clip for clip in split_into_clips(self.duration, level, span) if clip.id not in table)

    def coverage(self, level: float, span: Span | None = None) -> float:
        """Which part, in [0, 1], of a level's clips has captions."""
        return 1 - len(self.missing(level, span)) / len(split_into_clips(self.duration, level, span))

    @property
    def size(self) -> int:
        """How many lines there are."""
        with self._lock:
            return len(self._opened().view.table)

    @property
    def memory(self) -> int:
        """Bytes that it takes while it is open, by estimate. Does not wait for whoever uses it."""
        store = self._store
        return store.view.memory if store else 0

    def add(self, lines: Sequence[IndexEntry], cost: Mapping[str, float] | None = None) -> None:
        """Keep some lines, all or none. A line whose id is known replaces the former one.

        `cost`: what they took, added to the bill of this index. When this returns, they last. Raises IndexFull,
        EmbedderUnavailable.
        """
        if not lines:
            return
        with self._lock:
            table = self._opened().view.table
            if len(table) + sum(line.id not in table for line in lines) > self._most:
                raise IndexFull(f"This video's index holds {self._most} lines at most.")
        short = [_truncated(line) for line in lines]
        vectors = self.embedder.embed([line.text for line in short])
        with self._lock:
            self._opened().rows.put(short, vectors, cost)
            self._opened()

    def replace_subtitles(self, lines: Sequence[IndexEntry]) -> None:
        """Keep these lines in place of all subtitles. Raises IndexFull, EmbedderUnavailable."""
        with self._lock:
            store = self._opened()
            others = len(store.view.table) - len(self.subtitles())
            if others + len(lines) > self._most:
                raise IndexFull(f"This video's index holds {self._most} lines at most.")
            self._hear = None
            said = [_truncated(line) for line in lines]
            store.rows.replace("subtitle", said, self.embedder.embed([line.text for line in said]))
            store.rows.note(heard=str(len(said)))
            self._opened()

    def add_subtitles_later(self, hear: SubtitleReader) -> None:
        """When next used, add what is said in the video, unless that was done before, ever."""
        self._hear = hear

    def lease(self, clip: VideoClip) -> bool:
        """Lease a clip that has no caption; False if it has one or another caller holds the lease."""
        lives = self._presence.is_alive if self._presence else _always_alive
        with self._lock:
            if not self._opened().claims.acquire(clip.id, self._name, lives):
                return False
            if clip.id not in self._opened().view.table:  # looked at last: whoever had it may just have ended
                return True
            self._opened().claims.release(clip.id, self._name)
        return False

    def release(self, clip: VideoClip) -> None:
        """Give up the lease on a clip."""
        with self._lock:
            self._opened().claims.release(clip.id, self._name)

    def fail(self, clip: VideoClip, reason: str) -> None:
        """Record why a clip cannot be captioned."""
        with self._lock:
            self._opened().rows.fail(clip.id, reason)

    def failures(self) -> dict[str, str]:
        """Why clips could not be captioned, by clip id."""
        with self._lock:
            return self._opened().rows.failures()

    def clear_failures(self) -> None:
        """Forget all failures, so that the clips are tried again."""
        with self._lock:
            self._opened().rows.clear_failures()

    def cost(self) -> dict[str, float]:
        """Cost of the entries so far, by the names given to `add`."""
        with self._lock:
            return self._opened().rows.cost()

    def facts(self) -> dict[str, str]:
        """Facts recorded about the whole index."""
        with self._lock:
            return self._opened().rows.facts()

    def note(self, **facts: str) -> None:
        """Record facts about the whole index."""
        with self._lock:
            self._opened().rows.note(**facts)

    def save(self) -> None:
        """Make the next opening quick. What was added lasts without it."""
        with self._lock:
            if self._store is not None:
                self._store.save()

    def detach(self) -> None:
        """Go on empty and in memory, because the folder is about to be removed."""
        with self._lock:
            self._folder, self._store = None, IndexStore()

    @property
    def _name(self) -> str:
        return self._presence.name if self._presence else "me"

    def _opened(self) -> IndexStore:
        """The store with all that was written so far."""
        if self._store is None:
            if self._begin is not None:
                self._begin()
            self._store = IndexStore(self._folder)
        if self._hear is not None:
            hear, self._hear = self._hear, None
            self._listen(self._store, hear)
        self._store.refresh()
        return self._store

    def _listen(self, store: IndexStore, hear: SubtitleReader) -> None:
        if "heard" in store.rows.facts():
            return
        try:
            said = [_truncated(line) for line in hear()][: self._most]
            vectors = self.embedder.embed([line.text for line in said])
        except (BadVideo, DecodingStopped, EmbedderUnavailable) as error:
            _LOG.warning("the subtitles of a video cannot be read now: %s", error)
            return
        store.rows.put(said, vectors)
        store.rows.note(heard=str(len(said)))


def _truncated(line: IndexEntry) -> IndexEntry:
    """The line itself, not a kind of line, and not longer than it may be."""
    return IndexEntry(line.id, line.start, line.end, line.text[:MAX_ENTRY_CHARACTERS], line.source, line.level)


def _always_alive(_: str) -> bool:
    return True
