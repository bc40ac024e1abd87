"""Captions of a film's clips, written by the engine when they are needed and kept in the film's index."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Protocol

from agents.engine import Picture, Reply, Sampling
from tools.clips import levels
from tools.index import Hit, Index, Line, Source
from tools.moment import Moment, Span


class Eyes(Protocol):
    """Looks and speaks for whoever pays: a run, or the building of an index."""

    async def look(self, moments: Sequence[Moment]) -> tuple[Picture, ...]:
        """Decode frames. Raises BadVideo."""

    async def describe(self, pictures: Sequence[Picture], text: str, sampling: Sampling, purpose: str) -> Reply:
        """Ask the model something that has nothing to do with anybody's question. BudgetExceeded, EngineError."""


class Captions:
    """What is known in words of one film, and the means to know more.

    `levels`: lengths of clips in seconds, finest first. The finest ones are captioned from frames, the longer ones
    from the captions of the shorter ones within them.
    """

    def __init__(self, index: Index, eyes: Eyes, *, clip_seconds: float = 10.0) -> None:
        self.index = index
        self._eyes = eyes
        self.levels = levels(index.duration, clip_seconds)

    async def search(
        self,
        query: str,
        k: int = 8,
        *,
        span: Span | None = None,
        level: float | None = None,
        sources: tuple[Source, ...] = (),
    ) -> tuple[Hit, ...]:
        """Search what is there, off the event loop. See `Index.search`."""
        return await asyncio.to_thread(self.index.search, query, k, span=span, level=level, sources=sources)

    async def lines(
        self, span: Span | None = None, *, level: float | None = None, sources: tuple[Source, ...] = ()
    ) -> tuple[Line, ...]:
        """All lines that fit, in order of time: captions of a level, or what is said (`sources=("subtitle",)`)."""
        return await asyncio.to_thread(self.index.lines, span, level=level, sources=sources)

    async def write(self, span: Span | None = None, level: float | None = None) -> tuple[Line, ...]:
        """The captions of all clips of a level (the finest by default) that overlap a span, in order of time.

        Those that are missing are written now, are paid for by this run, and are kept for the next. What is written
        before a budget ends stays. Raises BudgetExceeded, EngineError.
        """
        raise NotImplementedError
