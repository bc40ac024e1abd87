"""Search among the lines of one film."""

from collections.abc import Collection, Iterable
from dataclasses import asdict
from threading import Lock

from tools.clips import clips
from tools.embedder import Embedder, HashedEmbedder
from tools.line import Hit, Line, Source
from tools.moment import Span

_SPOKEN: tuple[Source, ...] = ("subtitle",)


class Index:
    """The lines of one film, in memory. Safe under threads; blocks for milliseconds."""

    def __init__(self, duration: float, lines: Iterable[Line] = (), embedder: Embedder | None = None) -> None:
        self.duration = duration
        self._embedder = embedder or HashedEmbedder()
        self._lines = {line.id: line for line in lines}
        self._lock = Lock()

    def search(
        self,
        query: str,
        k: int = 8,
        *,
        span: Span | None = None,
        level: float | None = None,
        sources: Collection[Source] = (),
    ) -> tuple[Hit, ...]:
        """The k lines nearest to a query, best first, near repetitions left out.

        Only lines that overlap `span`, are captions of clips of `level` seconds, and come from one of `sources`,
        where these are given.
        """
        lines = self.lines(span, level=level, sources=sources)
        scores = self._embedder.embed([line.text for line in lines]) @ self._embedder.embed([query])[0]
        hits = [Hit(**asdict(line), score=float(score)) for line, score in zip(lines, scores, strict=True)]
        return tuple(sorted((hit for hit in hits if hit.score > 0), key=lambda hit: -hit.score)[:k])

    def lines(
        self, span: Span | None = None, *, level: float | None = None, sources: Collection[Source] = ()
    ) -> tuple[Line, ...]:
        """All lines that fit, in order of time. The same filters as `search`."""
        with self._lock:
            found = [line for line in self._lines.values() if _fits(line, span, level, sources)]
        return tuple(sorted(found, key=lambda line: (line.start, line.end, line.id)))

    def subtitles(self, span: Span | None = None) -> tuple[Line, ...]:
        """What is said, in order of time."""
        return self.lines(span, sources=_SPOKEN)

    def coverage(self, level: float, span: Span | None = None) -> float:
        """Which part, in [0, 1], of a level's clips has captions."""
        wanted = clips(self.duration, level, span)
        with self._lock:
            return sum(clip.id in self._lines for clip in wanted) / len(wanted)

    def add(self, lines: Iterable[Line]) -> None:
        """Keep some lines. A line whose id is known replaces the former one."""
        with self._lock:
            self._lines.update((line.id, line) for line in lines)


def _fits(line: Line, span: Span | None, level: float | None, sources: Collection[Source]) -> bool:
    right = (span is None or line.overlaps(span)) and (level is None or line.level == level)
    return right and (not sources or line.source in sources)
