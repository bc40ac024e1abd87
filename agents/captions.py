"""Captions of a film's clips, written by the engine when they are needed and kept in the film's index."""

from __future__ import annotations

import asyncio
import hashlib
from collections import deque
from collections.abc import Mapping, Sequence
from functools import partial
from typing import NamedTuple, Protocol

from agents.captioning import DESCRIBE, Captioning, plain, summarise
from agents.engine import EngineError, Picture, Sampling, TooLong
from tools.clips import Clip, clips, levels
from tools.embedder import EmbedderDown
from tools.index import Hit, Index, IndexDown, Line, Source
from tools.limits import BadVideo
from tools.moment import Moment, Span, centres

_CAPTION: tuple[Source, ...] = ("caption",)
_ASKED = "asked:"
_PAUSE = 0.1
"""Seconds until we look again whether others have written what we wait for."""


class Words(NamedTuple):
    """What the model said, and what that took, by name."""

    text: str
    cost: Mapping[str, float]


class Eyes(Protocol):
    """Looks and speaks for whoever pays: a run, or the building of an index."""

    async def look(self, moments: Sequence[Moment]) -> tuple[Picture, ...]:
        """Decode frames. Raises BadVideo."""

    async def describe(self, pictures: Sequence[Picture], text: str, sampling: Sampling, purpose: str) -> Words:
        """Ask the model something that has nothing to do with anybody's question. BudgetExceeded, EngineError."""

    def degrade(self, reason: str) -> None:
        """Tell whoever pays what could not be done as it should be."""


class Captions:
    """What is known in words of one film, and the means to know more.

    `levels`: lengths of clips in seconds, finest first. The finest ones are captioned from frames, the longer ones
    from the captions of the shorter ones within them. Whoever else captions the film shares the work.
    """

    def __init__(self, index: Index, eyes: Eyes, how: Captioning | None = None) -> None:
        self.index = index
        self.how = how or Captioning()
        self.levels = levels(index.duration, self.how.clip_seconds)
        self._eyes = eyes

    async def search(
        self,
        query: str,
        k: int = 8,
        *,
        span: Span | None = None,
        level: float | None = None,
        sources: tuple[Source, ...] = (),
    ) -> tuple[Hit, ...]:
        """Search what is there, off the event loop, by words alone while the embedder is down. See `Index.search`."""
        look = partial(self.index.search, query, k, span=span, level=level, sources=sources)
        try:
            return await asyncio.to_thread(look)
        except EmbedderDown as down:
            self._eyes.degrade(f"index: searched by words alone: {down}")
            return await asyncio.to_thread(look, by="words")

    async def lines(
        self, span: Span | None = None, *, level: float | None = None, sources: tuple[Source, ...] = ()
    ) -> tuple[Line, ...]:
        """All lines that fit, in order of time: captions of a level, or what is said (`sources=("subtitle",)`)."""
        return await asyncio.to_thread(self.index.lines, span, level=level, sources=sources)

    async def write(self, span: Span | None = None, level: float | None = None) -> tuple[Line, ...]:
        """The captions of all clips of a level (the finest by default) that overlap a span, in order of time.

        Those that are missing are written now, are paid for by this run, and are kept for the next; a clip that
        cannot be captioned is left out. What is written before a budget ends stays. Raises BudgetExceeded,
        EngineError, IndexFull, IndexDown; ValueError for a level that is not one of `levels`.
        """
        chosen = self.levels[0] if level is None else level
        await self._fill(self.levels.index(chosen), span)
        return await self.lines(span, level=chosen, sources=_CAPTION)

    async def recall(self, asked: str, span: Span) -> str | None:
        """What was written about a span when exactly this was asked, by whichever question; None if never."""
        return (await asyncio.to_thread(self.index.facts)).get(_named(asked, span))

    async def keep(self, asked: str, span: Span, text: str) -> None:
        """Keep what was written about a span for whoever asks the same; no search finds it, one question shaped it."""
        try:
            known = await asyncio.to_thread(self.index.facts)
            if sum(name.startswith(_ASKED) for name in known) < self.how.kept:
                await asyncio.to_thread(partial(self.index.note, **{_named(asked, span): text}))
        except IndexDown as down:
            self._eyes.degrade(f"index: a description could not be kept: {down}")

    async def _fill(self, place: int, span: Span | None) -> None:
        level = self.levels[place]
        if place:
            wanted = clips(self.index.duration, level, span)
            await self._fill(place - 1, Span(wanted[0].span.start, wanted[-1].span.end))
        while todo := await asyncio.to_thread(self._todo, level, span):
            if not await self._work(deque(todo)):
                await asyncio.sleep(_PAUSE)

    def _todo(self, level: float, span: Span | None) -> list[Clip]:
        failed = self.index.failures()
        return [clip for clip in self.index.missing(level, span) if clip.id not in failed]

    async def _work(self, todo: deque[Clip]) -> int:
        """Caption what nobody else is at, several clips at once. Returns how many.

        After a failure no clip is begun, but those that are paid for already are finished; then it is raised.
        """
        workers = [asyncio.ensure_future(self._worker(todo)) for _ in range(self.how.at_once)]
        try:
            results = await asyncio.gather(*workers, return_exceptions=True)
        finally:
            for worker in workers:
                worker.cancel()
            await asyncio.gather(*workers, return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException):
                raise result
        return sum(result for result in results if isinstance(result, int))

    async def _worker(self, todo: deque[Clip]) -> int:
        done = 0
        while todo:
            clip = todo.popleft()
            if await asyncio.to_thread(self.index.claim, clip):
                try:
                    await self._caption(clip)
                except BaseException:
                    todo.clear()
                    raise
                finally:
                    await asyncio.to_thread(self.index.release, clip)
                done += 1
        return done

    async def _caption(self, clip: Clip) -> None:
        """Caption one clip, or note why that cannot be done."""
        try:
            text, cost = await self._describe(clip)
        except (BadVideo, TooLong) as error:
            await asyncio.to_thread(self.index.fail, clip, str(error))
            return
        if not text:
            await asyncio.to_thread(self.index.fail, clip, "The model said nothing about this clip.")
            return
        line = Line(clip.id, clip.span.start, clip.span.end, text, "caption", clip.level)
        try:
            await asyncio.to_thread(self.index.add, [line], cost)
        except EmbedderDown as down:
            raise EngineError(f"The embedder is down: {down}") from down

    async def _describe(self, clip: Clip) -> Words:
        sampling = Sampling(max_tokens=self.how.tokens)
        if clip.level == self.levels[0]:
            pictures = await self._eyes.look(centres(clip.span, self.how.count(clip)))
            words = await self._eyes.describe(pictures, DESCRIBE, sampling, "caption")
        else:
            finer = self.levels[self.levels.index(clip.level) - 1]
            lines = await self.lines(clip.span, level=finer, sources=_CAPTION)
            if not lines:
                raise BadVideo("None of the shorter clips in this one has a caption.")
            words = await self._eyes.describe((), summarise(clip, lines), sampling, "summary")
        return words._replace(text=plain(words.text))


def _named(asked: str, span: Span) -> str:
    """Under what the answer is kept when this is asked about a span."""
    return f"{_ASKED}{hashlib.sha256(asked.encode()).hexdigest()[:16]}:{span.start:g}-{span.end:g}"
