"""The lines of an index by their numbers, and which of them fit a wish."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tools.line import Line, Source
from tools.moment import Span

Mask = NDArray[np.bool_]
"""(numbers,): True at the numbers of lines that are meant."""

_SOURCES: tuple[Source, ...] = ("caption", "subtitle", "ocr")
_INSTANT = 1e-6
"""Seconds that a line without a length lasts."""


class Table:
    """Lines by number. Numbers are given once: a line that is replaced gets a new one."""

    def __init__(self) -> None:
        self._lines: dict[int, Line] = {}
        self._numbers: dict[str, int] = {}
        self._start = np.zeros(0)
        self._end = np.zeros(0)
        self._level = np.zeros(0)
        self._source = np.zeros(0, np.int8)  # 0: no line

    def __len__(self) -> int:
        return len(self._lines)

    def __contains__(self, name: str) -> bool:
        return name in self._numbers

    def __getitem__(self, number: int) -> Line:
        return self._lines[number]

    def has(self, number: int) -> bool:
        """Whether a line has this number."""
        return number in self._lines

    def number(self, name: str) -> int | None:
        """The number of the line with this id."""
        return self._numbers.get(name)

    def put(self, number: int, line: Line) -> None:
        """Note a line under a number of its own."""
        if number >= len(self._start):
            self._grow(max(2 * number, 64))
        self._lines[number] = line
        self._numbers[line.id] = number
        self._start[number] = line.start
        self._end[number] = max(line.end, line.start + _INSTANT)
        self._level[number] = line.level
        self._source[number] = 1 + _SOURCES.index(line.source)

    def remove(self, number: int) -> Line:
        """Forget a line."""
        line = self._lines.pop(number)
        del self._numbers[line.id]
        self._source[number] = 0
        return line

    def mask(self, span: Span | None, level: float | None, sources: tuple[Source, ...]) -> Mask | None:
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

    def lines(self, mask: Mask | None) -> Iterator[Line]:
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
