"""The lines of one film: kept, found, and claimed by whoever writes them."""

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from threading import RLock
from typing import Literal

from tools.clips import Clip, clips
from tools.embedder import Embedder, EmbedderDown, HashedEmbedder
from tools.index.presence import Presence
from tools.index.store import Store
from tools.limits import BadVideo, Stopped
from tools.line import Hit, Line, Source
from tools.moment import Span

_LOG = logging.getLogger("secondlook.index")
_SPOKEN: tuple[Source, ...] = ("subtitle",)
By = Literal["both", "words"]
"""By what lines are found: by the nearness of vectors and by words, or by words alone."""
Hear = Callable[[], Sequence[Line]]
"""Reads what is said in a film. Raises BadVideo, Stopped."""
LONGEST = 2000
"""Characters of a line; what is longer is cut."""
MOST = 200_000
"""Lines of one film."""


class IndexFull(Exception):
    """The index holds as many lines as it may."""


class Index:
    """What is known in words of one film. Safe under threads and processes; blocks for milliseconds.

    Without a folder it is in memory and ends with this object. In a folder, others may write into it at the same
    time: each search sees what has been written so far. It is opened when first used, after `begin` has been called.
    At most `most` lines. Every method raises IndexDown.
    """

    def __init__(
        self,
        duration: float,
        lines: Sequence[Line] = (),
        embedder: Embedder | None = None,
        *,
        folder: Path | None = None,
        presence: Presence | None = None,
        most: int = MOST,
        begin: Callable[[], None] | None = None,
    ) -> None:
        self.duration = duration
        self.embedder = embedder or HashedEmbedder()
        self._folder = folder
        self._presence = presence
        self._most = most
        self._begin = begin
        self._hear: Hear | None = None
        self._lock = RLock()
        self._store: Store | None = None
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
        by: By = "both",
    ) -> tuple[Hit, ...]:
        """The k lines nearest to a query, best first.

        Only lines that overlap `span`, are captions of clips of `level` seconds, and come from one of `sources`,
        where these are given. `distinct`: of lines that follow on each other and say the same, only the best.
        By words alone, the embedder is not needed; else raises EmbedderDown.
        """
        vector = self.embedder.embed([query])[0] if by == "both" else None
        with self._lock:
            view = self._opened().view
            return view.search(query, vector, k, view.table.mask(span, level, sources), distinct)

    def lines(
        self, span: Span | None = None, *, level: float | None = None, sources: tuple[Source, ...] = ()
    ) -> tuple[Line, ...]:
        """All lines that fit, in order of time. The same filters as `search`."""
        with self._lock:
            table = self._opened().view.table
            return tuple(table.lines(table.mask(span, level, sources)))

    def subtitles(self, span: Span | None = None) -> tuple[Line, ...]:
        """What is said, in order of time."""
        return self.lines(span, sources=_SPOKEN)

    def missing(self, level: float, span: Span | None = None) -> tuple[Clip, ...]:
        """The clips of a level that have no caption, in order of time; those that failed count as missing too."""
        with self._lock:
            table = self._opened().view.table
            return tuple(clip for clip in clips(self.duration, level, span) if clip.id not in table)

    def coverage(self, level: float, span: Span | None = None) -> float:
        """Which part, in [0, 1], of a level's clips has captions."""
        return 1 - len(self.missing(level, span)) / len(clips(self.duration, level, span))

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

    def add(self, lines: Sequence[Line], cost: Mapping[str, float] | None = None) -> None:
        """Keep some lines, all or none. A line whose id is known replaces the former one.

        `cost`: what they took, added to the bill of this index. When this returns, they last. Raises IndexFull,
        EmbedderDown.
        """
        if not lines:
            return
        with self._lock:
            table = self._opened().view.table
            if len(table) + sum(line.id not in table for line in lines) > self._most:
                raise IndexFull(f"This video's index holds {self._most} lines at most.")
        short = [_cut(line) for line in lines]
        vectors = self.embedder.embed([line.text for line in short])
        with self._lock:
            self._opened().rows.put(short, vectors, cost)
            self._opened()

    def say(self, lines: Sequence[Line]) -> None:
        """Keep these lines in place of all subtitles. Raises IndexFull, EmbedderDown."""
        with self._lock:
            store = self._opened()
            others = len(store.view.table) - len(self.subtitles())
            if others + len(lines) > self._most:
                raise IndexFull(f"This video's index holds {self._most} lines at most.")
            self._hear = None
            said = [_cut(line) for line in lines]
            store.rows.replace("subtitle", said, self.embedder.embed([line.text for line in said]))
            store.rows.note(heard=str(len(said)))
            self._opened()

    def listen(self, hear: Hear) -> None:
        """When next used, add what is said in the film, unless that was done before, ever."""
        self._hear = hear

    def claim(self, clip: Clip) -> bool:
        """Whether the caller is to write this clip now: it is not there, and nobody else is at it."""
        lives = self._presence.lives if self._presence else _nobody_dies
        with self._lock:
            if not self._opened().claims.take(clip.id, self._name, lives):
                return False
            if clip.id not in self._opened().view.table:  # looked at last: whoever had it may just have ended
                return True
            self._opened().claims.drop(clip.id, self._name)
        return False

    def release(self, clip: Clip) -> None:
        """The caller is no longer at this clip."""
        with self._lock:
            self._opened().claims.drop(clip.id, self._name)

    def fail(self, clip: Clip, reason: str) -> None:
        """Note that nothing can be written about a clip, and why."""
        with self._lock:
            self._opened().rows.fail(clip.id, reason)

    def failures(self) -> dict[str, str]:
        """Ids of clips that nothing could be written about, and why."""
        with self._lock:
            return self._opened().rows.failures()

    def forgive(self) -> None:
        """Forget all failures, to try again."""
        with self._lock:
            self._opened().rows.forgive()

    def cost(self) -> dict[str, float]:
        """What was spent on the lines, by the names given to `add`."""
        with self._lock:
            return self._opened().rows.cost()

    def facts(self) -> dict[str, str]:
        """What was noted about the whole."""
        with self._lock:
            return self._opened().rows.facts()

    def note(self, **facts: str) -> None:
        """Note something about the whole."""
        with self._lock:
            self._opened().rows.note(**facts)

    def save(self) -> None:
        """Make the next opening quick. What was added lasts without it."""
        with self._lock:
            if self._store is not None:
                self._store.save()

    def forget(self) -> None:
        """The folder is about to be removed: go on in memory, with nothing."""
        with self._lock:
            self._folder, self._store = None, Store()

    @property
    def _name(self) -> str:
        return self._presence.name if self._presence else "me"

    def _opened(self) -> Store:
        """The store with all that was written so far."""
        if self._store is None:
            if self._begin is not None:
                self._begin()
            self._store = Store(self._folder)
        if self._hear is not None:
            hear, self._hear = self._hear, None
            self._listen(self._store, hear)
        self._store.refresh()
        return self._store

    def _listen(self, store: Store, hear: Hear) -> None:
        if "heard" in store.rows.facts():
            return
        try:
            said = [_cut(line) for line in hear()][: self._most]
            vectors = self.embedder.embed([line.text for line in said])
        except (BadVideo, Stopped, EmbedderDown) as error:
            _LOG.warning("the subtitles of a film cannot be read now: %s", error)
            return
        store.rows.put(said, vectors)
        store.rows.note(heard=str(len(said)))


def _cut(line: Line) -> Line:
    """The line itself, not a kind of line, and not longer than it may be."""
    return Line(line.id, line.start, line.end, line.text[:LONGEST], line.source, line.level)


def _nobody_dies(_: str) -> bool:
    return True
