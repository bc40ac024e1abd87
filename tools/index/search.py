"""Hybrid search in memory: filters, word weights as in BM25, and exact vector search with faiss."""

import hashlib
import os
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from heapq import nlargest
from math import log
from pathlib import Path
from typing import Any
from uuid import uuid4

import faiss
import numpy as np
from numpy.typing import NDArray

from tools.index.embedder import Embeddings, tokenize
from tools.index.entries import EntrySource, Hit, IndexEntry
from tools.index.storage import EntryRow
from tools.video.sampling import Span

Mask = NDArray[np.bool_]
"""(numbers,): True at the numbers of lines that are meant."""

_SOURCES: tuple[EntrySource, ...] = ("caption", "subtitle", "ocr")
_INSTANT = 1e-6
"""Seconds that a line without a length lasts."""


class EntryTable:
    """Lines by number. Numbers are given once: a line that is replaced gets a new one."""

    def __init__(self) -> None:
        self._lines: dict[int, IndexEntry] = {}
        self._numbers: dict[str, int] = {}
        self._start = np.zeros(0)
        self._end = np.zeros(0)
        self._level = np.zeros(0)
        self._source = np.zeros(0, np.int8)  # 0: no line

    def __len__(self) -> int:
        return len(self._lines)

    def __contains__(self, name: str) -> bool:
        return name in self._numbers

    def __getitem__(self, number: int) -> IndexEntry:
        return self._lines[number]

    def has(self, number: int) -> bool:
        """Whether a line has this number."""
        return number in self._lines

    def number(self, name: str) -> int | None:
        """The number of the line with this id."""
        return self._numbers.get(name)

    def put(self, number: int, line: IndexEntry) -> None:
        """Note a line under a number of its own."""
        if number >= len(self._start):
            self._grow(max(2 * number, 64))
        self._lines[number] = line
        self._numbers[line.id] = number
        self._start[number] = line.start
        self._end[number] = max(line.end, line.start + _INSTANT)
        self._level[number] = line.level
        self._source[number] = 1 + _SOURCES.index(line.source)

    def remove(self, number: int) -> IndexEntry:
        """Forget a line."""
        line = self._lines.pop(number)
        del self._numbers[line.id]
        self._source[number] = 0
        return line

    def mask(self, span: Span | None, level: float | None, sources: tuple[EntrySource, ...]) -> Mask | None:
        """Which lines overlap a span, are of clips of so many seconds and come from there; None if all do."""
        if span is None and level is None and not sources:
            return None
        fits: Mask = self._source > 0
        if span is not None:
            fits &= (self._start < span.end) & (self._end > span.start)
        if level is not None:
            fits &= np.isclose(self._level, level)
        if sources:
            fits &= np.isin(self._source, [1 + _SOURCES.index(source) for source in sources])
        return fits

    def lines(self, mask: Mask | None) -> Iterator[IndexEntry]:
        """The lines of a mask, in order of time."""
        numbers = np.flatnonzero(self._source > 0 if mask is None else mask)
        order = np.lexsort((numbers, self._end[numbers], self._start[numbers]))
        return (self._lines[number] for number in numbers[order].tolist())

    def _grow(self, size: int) -> None:
        for name in ("_start", "_end", "_level", "_source"):
            column: NDArray[Any] = getattr(self, name)
            grown = np.zeros(size, column.dtype)
            grown[: len(column)] = column
            setattr(self, name, grown)


_COMMON, _SHARE, _FEW = 1024, 0.05, 16
"""Lines: a word in more of them, or in a larger share of all, finds none, unless it is in few."""


class WordIndex:
    """Lines by their words."""

    def __init__(self) -> None:
        self._lines: dict[str, list[int]] = {}
        self._count = 0

    def add(self, number: int, text: str) -> None:
        """Note a line's words."""
        self._count += 1
        for word in set(tokenize(text)):
            self._lines.setdefault(word, []).append(number)

    def remove(self, number: int, text: str) -> None:
        """Forget a line that was added with this text."""
        self._count -= 1
        for word in set(tokenize(text)):
            self._lines[word].remove(number)

    def idf_weights(self, query: str) -> dict[str, float]:
        """How much each word of a query says, summing to 1: the rarer the more, as in BM25."""
        raw = {word: log(1 + (self._count + 0.5) / (len(self._lines.get(word, ())) + 0.5)) for word in tokenize(query)}
        whole = sum(raw.values())
        return {word: weight / whole for word, weight in raw.items()}

    def find(self, weights: Mapping[str, float], n: int, mask: Mask | None = None) -> list[int]:
        """At most n lines that hold most of the words, by weight. Common words are not looked for."""
        common = max(_FEW, min(_COMMON, int(_SHARE * self._count)))
        found: dict[int, float] = defaultdict(float)
        for word, weight in weights.items():
            lines = self._lines.get(word, [])
            for number in lines if len(lines) <= common else ():
                if mask is None or mask[number]:
                    found[number] += weight
        return nlargest(n, found, key=lambda number: (found[number], -number))


def word_overlap(weights: Mapping[str, float], text: str) -> float:
    """How much of a query, in [0, 1], a text says word by word."""
    held = set(tokenize(text))
    return sum(weight for word, weight in weights.items() if word in held)


Numbers = NDArray[np.int64]


class VectorFileMismatch(Exception):
    """These bytes are not the vectors that were written."""


class VectorIndex:
    """Vectors of length 1, compared by their inner product. `dimension`: how many numbers make one."""

    def __init__(self, dimension: int) -> None:
        self.dimension = dimension
        halves = faiss.IndexScalarQuantizer(dimension, faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT)
        self._index = faiss.IndexIDMap2(halves)

    @classmethod
    def read(cls, path: Path, digest: str) -> "VectorIndex":
        """What `write` wrote. Raises VectorFileMismatch if there is no file with this sha256."""
        try:
            with path.open("rb") as file:
                found = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise VectorFileMismatch("the file of vectors cannot be read") from error
        if found != digest:
            raise VectorFileMismatch("the file of vectors is not the one that was written")
        index = faiss.read_index(str(path))
        vectors = cls(index.d)
        vectors._index = index
        return vectors

    def write(self, path: Path) -> str:
        """Write all vectors with their numbers, whole or not at all. Returns the file's sha256. Raises OSError."""
        part = path.with_name(f"{uuid4().hex}.part")
        try:
            with part.open("wb") as file:
                faiss.write_index(self._index, faiss.PyCallbackIOWriter(file.write))
                file.flush()
                os.fsync(file.fileno())
            with part.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
        return digest

    def __len__(self) -> int:
        return int(self._index.ntotal)

    @property
    def numbers(self) -> Numbers:
        """The number of every vector."""
        return np.array(faiss.vector_to_array(self._index.id_map), np.int64)

    def add(self, numbers: Numbers, vectors: Embeddings) -> None:
        """Add vectors, (n, dimension), under numbers that are not taken."""
        self._index.add_with_ids(np.ascontiguousarray(vectors, np.float32), np.asarray(numbers, np.int64))

    def remove(self, numbers: Numbers) -> None:
        """Forget some vectors."""
        self._index.remove_ids(np.asarray(numbers, np.int64))

    def search(self, vector: Embeddings, n: int, mask: Mask | None = None) -> list[int]:
        """The numbers of the n vectors nearest to a vector, (dimension,), nearest first; of those in a mask."""
        wish = None if mask is None else faiss.SearchParameters(sel=_selector(mask))
        _, found = self._index.search(vector[None, :], max(1, min(n, len(self))), params=wish)
        return [number for number in found[0].tolist() if number >= 0]

    def of(self, numbers: Numbers) -> Embeddings:
        """The vectors with these numbers, (n, dimension)."""
        return np.asarray(self._index.reconstruct_batch(np.asarray(numbers, np.int64)), np.float32)


def _selector(mask: Mask) -> faiss.IDSelectorBitmap:
    return faiss.IDSelectorBitmap(np.packbits(mask, bitorder="little"))


_VECTOR_WEIGHT = 0.5
"""How much of a score is nearness of vectors; the rest is the share of the query's words that are there."""
_DUPLICATE_SIMILARITY = 0.95
"""Inner product from which on two lines say the same."""
_ADJACENT_SECONDS = 1.0
"""Seconds between two lines that still follow on each other."""
_EXTRA_CANDIDATES = 32
"""Candidates beyond four for each line wanted."""
_BYTES = 600
"""Memory of a line of usual length and its words."""


class SearchIndex:
    """Lines by number, the highest of which is `last`. `vectors`: those known already, of some of the lines."""

    def __init__(self, vectors: VectorIndex | None = None) -> None:
        self.last = 0
        self.table = EntryTable()
        self._words = WordIndex()
        self._vectors = vectors

    @property
    def vectors(self) -> VectorIndex | None:
        """The vectors; None before there is a line."""
        return self._vectors

    def add(self, rows: Sequence[EntryRow]) -> None:
        """Note lines, by rising number. A line replaces the one with the same id."""
        for row in rows:
            former = self.table.number(row.line.id)
            if former is not None:
                self._forget(former)
            self.table.put(row.number, row.line)
            self._words.add(row.number, row.line.text)
            self.last = row.number
        self._add([row for row in rows if row.vector is not None and row.line.id in self.table])

    def drop_orphans(self) -> None:
        """Forget the vectors of lines that are not there."""
        if self._vectors is not None:
            strays = [number for number in self._vectors.numbers.tolist() if not self.table.has(number)]
            self._vectors.remove(np.array(strays, np.int64))

    @property
    def memory(self) -> int:
        """Bytes, by estimate."""
        return len(self.table) * (_BYTES + 2 * (self._vectors.dimension if self._vectors else 0))

    def search(
        self, query: str, vector: Embeddings | None, k: int, mask: Mask | None, distinct: bool
    ) -> tuple[Hit, ...]:
        """The k best lines of a mask, best first. Without a vector, by words alone."""
        weights = self._words.idf_weights(query)
        numbers = self._candidates(weights, vector, 4 * k + _EXTRA_CANDIDATES, mask)
        if self._vectors is None or not len(numbers):
            return ()
        vectors = self._vectors.of(numbers)
        scores = np.array([word_overlap(weights, self.table[number].text) for number in numbers.tolist()], np.float32)
        if vector is not None:
            scores = _VECTOR_WEIGHT * np.clip(vectors @ vector, 0, 1) + (1 - _VECTOR_WEIGHT) * scores
        runs = _DuplicateRuns()
        hits: list[Hit] = []
        for place in np.argsort(-scores, kind="stable").tolist():
            line, score = self.table[int(numbers[place])], float(scores[place])
            if len(hits) == k or score <= 0:
                break
            if not distinct or runs.begin(line, vectors[place]):
                hits.append(_hit(line, score))
        return tuple(hits)

    def _candidates(
        self, weights: Mapping[str, float], vector: Embeddings | None, n: int, mask: Mask | None
    ) -> Numbers:
        """The n lines that share most words and the n nearest ones."""
        found = self._words.find(weights, n, mask)
        if vector is not None and self._vectors is not None:
            found += self._vectors.search(vector, n, mask)
        return np.unique(np.array(found, np.int64))

    def _add(self, rows: Sequence[EntryRow]) -> None:
        if not rows:
            return
        halves = np.stack([np.frombuffer(row.vector or b"", np.float16) for row in rows])
        if self._vectors is None:
            self._vectors = VectorIndex(halves.shape[1])
        self._vectors.add(np.array([row.number for row in rows], np.int64), halves.astype(np.float32))

    def _forget(self, number: int) -> None:
        self._words.remove(number, self.table.remove(number).text)
        if self._vectors is not None:
            self._vectors.remove(np.array([number], np.int64))


class _DuplicateRuns:
    """Lines that follow on each other and say the same count as one. A video's name may go before a line's id."""

    def __init__(self) -> None:
        self._runs: list[tuple[str, float, float, Embeddings]] = []

    def begin(self, line: IndexEntry, vector: Embeddings) -> bool:
        """Whether a line begins a run of its own; if not, it prolongs one."""
        video = line.id.rpartition("/")[0]
        for place, (other, start, end, known) in enumerate(self._runs):
            touches = video == other and line.start <= end + _ADJACENT_SECONDS and line.end >= start - _ADJACENT_SECONDS
            if touches and float(vector @ known) >= _DUPLICATE_SIMILARITY:
                self._runs[place] = (other, min(start, line.start), max(end, line.end), known)
                return False
        self._runs.append((video, line.start, line.end, vector))
        return True


def _hit(line: IndexEntry, score: float) -> Hit:
    return Hit(line.id, line.start, line.end, line.text, line.source, line.level, min(score, 1.0))
