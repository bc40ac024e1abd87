"""What a search looks at: the lines in memory, their words and their vectors."""

from collections.abc import Mapping, Sequence

import numpy as np

from tools.embedder import Vectors as Matrix
from tools.index.rows import Row
from tools.index.table import Mask, Table
from tools.index.vectors import Numbers, Vectors
from tools.index.words import Words, share
from tools.line import Hit, Line

_NEARNESS = 0.5
"""How much of a score is nearness of vectors; the rest is the share of the query's words that are there."""
_SAME = 0.95
"""Inner product from which on two lines say the same."""
_BREATH = 1.0
"""Seconds between two lines that still follow on each other."""
_SPARE = 32
"""Candidates beyond four for each line wanted."""
_BYTES = 600
"""Memory of a line of usual length and its words."""


class View:
    """Lines by number, the highest of which is `last`. `vectors`: those known already, of some of the lines."""

    def __init__(self, vectors: Vectors | None = None) -> None:
        self.last = 0
        self.table = Table()
        self._words = Words()
        self._vectors = vectors

    @property
    def vectors(self) -> Vectors | None:
        """The vectors; None before there is a line."""
        return self._vectors

    def take(self, rows: Sequence[Row]) -> None:
        """Note lines, by rising number. A line replaces the one with the same id."""
        for row in rows:
            former = self.table.number(row.line.id)
            if former is not None:
                self._forget(former)
            self.table.put(row.number, row.line)
            self._words.add(row.number, row.line.text)
            self.last = row.number
        self._add([row for row in rows if row.vector is not None and row.line.id in self.table])

    def tidy(self) -> None:
        """Forget the vectors of lines that are not there."""
        if self._vectors is not None:
            strays = [number for number in self._vectors.numbers.tolist() if not self.table.has(number)]
            self._vectors.remove(np.array(strays, np.int64))

    @property
    def memory(self) -> int:
        """Bytes, by estimate."""
        return len(self.table) * (_BYTES + 2 * (self._vectors.dimension if self._vectors else 0))

    def search(self, query: str, vector: Matrix | None, k: int, mask: Mask | None, distinct: bool) -> tuple[Hit, ...]:
        """The k best lines of a mask, best first. Without a vector, by words alone."""
        weights = self._words.weigh(query)
        numbers = self._candidates(weights, vector, 4 * k + _SPARE, mask)
        if self._vectors is None or not len(numbers):
            return ()
        vectors = self._vectors.of(numbers)
        scores = np.array([share(weights, self.table[number].text) for number in numbers.tolist()], np.float32)
        if vector is not None:
            scores = _NEARNESS * np.clip(vectors @ vector, 0, 1) + (1 - _NEARNESS) * scores
        runs = _Runs()
        hits: list[Hit] = []
        for place in np.argsort(-scores, kind="stable").tolist():
            line, score = self.table[int(numbers[place])], float(scores[place])
            if len(hits) == k or score <= 0:
                break
            if not distinct or runs.begin(line, vectors[place]):
                hits.append(_hit(line, score))
        return tuple(hits)

    def _candidates(self, weights: Mapping[str, float], vector: Matrix | None, n: int, mask: Mask | None) -> Numbers:
        """The n lines that share most words and the n nearest ones."""
        found = self._words.find(weights, n, mask)
        if vector is not None and self._vectors is not None:
            found += self._vectors.search(vector, n, mask)
        return np.unique(np.array(found, np.int64))

    def _add(self, rows: Sequence[Row]) -> None:
        if not rows:
            return
        halves = np.stack([np.frombuffer(row.vector or b"", np.float16) for row in rows])
        if self._vectors is None:
            self._vectors = Vectors(halves.shape[1])
        self._vectors.add(np.array([row.number for row in rows], np.int64), halves.astype(np.float32))

    def _forget(self, number: int) -> None:
        self._words.remove(number, self.table.remove(number).text)
        if self._vectors is not None:
            self._vectors.remove(np.array([number], np.int64))


class _Runs:
    """Lines that follow on each other and say the same count as one. A film's name may go before a line's id."""

    def __init__(self) -> None:
        self._runs: list[tuple[str, float, float, Matrix]] = []

    def begin(self, line: Line, vector: Matrix) -> bool:
        """Whether a line begins a run of its own; if not, it prolongs one."""
        film = line.id.rpartition("/")[0]
        for place, (other, start, end, known) in enumerate(self._runs):
            touches = film == other and line.start <= end + _BREATH and line.end >= start - _BREATH
            if touches and float(vector @ known) >= _SAME:
                self._runs[place] = (other, min(start, line.start), max(end, line.end), known)
                return False
        self._runs.append((film, line.start, line.end, vector))
        return True


def _hit(line: Line, score: float) -> Hit:
    return Hit(line.id, line.start, line.end, line.text, line.source, line.level, min(score, 1.0))
