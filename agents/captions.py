"""Captions of a video's clips: written by the model when they are needed, kept in the video's index."""

from __future__ import annotations

import asyncio
import hashlib
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from time import perf_counter
from typing import NamedTuple, Protocol

from agents.core.budget import BudgetMeter
from agents.core.frames import load_frames
from agents.core.model_client import ModelClient
from agents.core.trace import Trace
from agents.core.usage import RunUsage
from agents.engines.base import Engine, EngineError, Picture, PromptTooLong, Sampling
from agents.prompts import agentic
from agents.prompts.untrusted import quote_facts
from tools.base import Fact
from tools.index.embedder import Embedder, EmbedderUnavailable
from tools.index.entries import EntrySource, Hit, IndexEntry, VideoClip, clip_levels, split_into_clips
from tools.index.index import Index
from tools.index.metadata import IndexConfig
from tools.index.storage import IndexUnavailable
from tools.video.limits import BadVideo
from tools.video.sampling import SampleWindow, Span, uniform
from tools.video.source import VideoSource

DESCRIBE = (
    "Describe in one to three sentences what these frames show: who and what is seen, what happens,"
    " and what can be read."
)
_SUMMARISE = "Say in one to three sentences what happens from {start:g} to {end:g} s, in order, from these notes alone."


@dataclass(frozen=True, slots=True)
class CaptionConfig:
    """A clip of `clip_seconds` is captioned from `fps` frames a second, at most `frames`, in `tokens` at most.

    `at_once`: clips captioned at the same time. `kept`: descriptions kept that single questions asked for.
    """

    clip_seconds: float = 10.0
    fps: float = 1.0
    frames: int = 16
    tokens: int = 128
    concurrency: int = 4
    kept: int = 4096

    def count(self, clip: VideoClip) -> int:
        """Frames that a clip is captioned from."""
        return max(1, min(round(clip.span.length * self.fps), self.frames))

    def builder(self, engine: Engine, embedder: Embedder) -> IndexConfig:
        """What an index is made with. The engine must have been probed: before, it may not know its model."""
        prompts = f"{DESCRIBE}|{_SUMMARISE}|{agentic.DATA}|{self.frames}|{self.tokens}"
        digest = hashlib.sha256(prompts.encode()).hexdigest()[:16]
        return IndexConfig(engine.model, digest, self.clip_seconds, self.fps, engine.side, embedder.name)


def summarise_prompt(clip: VideoClip, lines: Sequence[IndexEntry]) -> str:
    """Ask for a caption of a long clip from those of the shorter ones in it. They are data, whatever they say."""
    facts = [Fact(start=line.start, end=line.end, text=line.text, origin="caption") for line in lines]
    wish = _SUMMARISE.format(start=clip.span.start, end=clip.span.end)
    return f"{agentic.DATA}\n{quote_facts(facts)}\n{wish}"


def one_line(reply: str) -> str:
    """What a model wrote, as one line without control characters."""
    return " ".join("".join(letter if letter.isprintable() else " " for letter in reply).split())


_CAPTION: tuple[EntrySource, ...] = ("caption",)
_ASKED = "asked:"
_PAUSE = 0.1
"""Seconds until we look again whether others have written what we wait for."""


class CaptionText(NamedTuple):
    """What the model said, and what that took, by name."""

    text: str
    cost: Mapping[str, float]


class CaptionSource(Protocol):
    """Looks and speaks for whoever pays: a run, or the building of an index."""

    async def load(self, moments: Sequence[SampleWindow]) -> tuple[Picture, ...]:
        """Decode frames. Raises BadVideo."""

    async def describe(self, pictures: Sequence[Picture], text: str, sampling: Sampling, purpose: str) -> CaptionText:
        """Ask the model something that has nothing to do with anybody's question. BudgetExceeded, EngineError."""

    def degrade(self, reason: str) -> None:
        """Tell whoever pays what could not be done as it should be."""


class Captions:
    """What is known in words of one video, and the means to know more.

    `levels`: lengths of clips in seconds, finest first. The finest ones are captioned from frames, the longer ones
    from the captions of the shorter ones within them. Whoever else captions the video shares the work.
    """

    def __init__(self, index: Index, eyes: CaptionSource, how: CaptionConfig | None = None) -> None:
        self.index = index
        self.how = how or CaptionConfig()
        self.levels = clip_levels(index.duration, self.how.clip_seconds)
        self._eyes = eyes

    async def search(
        self,
        query: str,
        k: int = 8,
        *,
        span: Span | None = None,
        level: float | None = None,
        sources: tuple[EntrySource, ...] = (),
    ) -> tuple[Hit, ...]:
        """Search what is there, off the event loop, by words alone while the embedder is down. See `Index.search`."""
        look = partial(self.index.search, query, k, span=span, level=level, sources=sources)
        try:
            return await asyncio.to_thread(look)
        except EmbedderUnavailable as down:
            self._eyes.degrade(f"index: searched by words alone: {down}")
            return await asyncio.to_thread(look, by="words")

    async def lines(
        self, span: Span | None = None, *, level: float | None = None, sources: tuple[EntrySource, ...] = ()
    ) -> tuple[IndexEntry, ...]:
        """All lines that fit, in order of time: captions of a level, or what is said (`sources=("subtitle",)`)."""
        return await asyncio.to_thread(self.index.lines, span, level=level, sources=sources)

    async def write(self, span: Span | None = None, level: float | None = None) -> tuple[IndexEntry, ...]:
        """The captions of all clips of a level (the finest by default) that overlap a span, in order of time.

        Those that are missing are written now, are paid for by this run, and are kept for the next; a clip that
        cannot be captioned is left out. What is written before a budget ends stays. Raises BudgetExceeded,
        EngineError, IndexFull, IndexUnavailable; ValueError for a level that is not one of `levels`.
        """
        chosen = self.levels[0] if level is None else level
        await self._fill(self.levels.index(chosen), span)
        return await self.lines(span, level=chosen, sources=_CAPTION)

    async def recall(self, asked: str, span: Span) -> str | None:
        """What was written about a span when exactly this was asked, by whichever question; None if never."""
        return (await asyncio.to_thread(self.index.facts)).get(_cache_key(asked, span))

    async def keep(self, asked: str, span: Span, text: str) -> None:
        """Keep what was written about a span for whoever asks the same; no search finds it, one question shaped it."""
        try:
            known = await asyncio.to_thread(self.index.facts)
            if sum(name.startswith(_ASKED) for name in known) < self.how.kept:
                await asyncio.to_thread(partial(self.index.note, **{_cache_key(asked, span): text}))
        except IndexUnavailable as down:
            self._eyes.degrade(f"index: a description could not be kept: {down}")

    async def _fill(self, place: int, span: Span | None) -> None:
        level = self.levels[place]
        if place:
            wanted = split_into_clips(self.index.duration, level, span)
            await self._fill(place - 1, Span(wanted[0].span.start, wanted[-1].span.end))
        while todo := await asyncio.to_thread(self._todo, level, span):
            if not await self._work(deque(todo)):
                await asyncio.sleep(_PAUSE)

    def _todo(self, level: float, span: Span | None) -> list[VideoClip]:
        failed = self.index.failures()
        return [clip for clip in self.index.missing(level, span) if clip.id not in failed]

    async def _work(self, todo: deque[VideoClip]) -> int:
        """Caption what nobody else is at, several clips at once. Returns how many.

        After a failure no clip is begun, but those that are paid for already are finished; then it is raised.
        """
        workers = [asyncio.ensure_future(self._worker(todo)) for _ in range(self.how.concurrency)]
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

    async def _worker(self, todo: deque[VideoClip]) -> int:
        done = 0
        while todo:
            clip = todo.popleft()
            if await asyncio.to_thread(self.index.lease, clip):
                try:
                    await self._caption(clip)
                except BaseException:
                    todo.clear()
                    raise
                finally:
                    await asyncio.to_thread(self.index.release, clip)
                done += 1
        return done

    async def _caption(self, clip: VideoClip) -> None:
        """Caption one clip, or note why that cannot be done."""
        try:
            text, cost = await self._describe(clip)
        except (BadVideo, PromptTooLong) as error:
            await asyncio.to_thread(self.index.fail, clip, str(error))
            return
        if not text:
            await asyncio.to_thread(self.index.fail, clip, "The model said nothing about this clip.")
            return
        line = IndexEntry(clip.id, clip.span.start, clip.span.end, text, "caption", clip.level)
        try:
            await asyncio.to_thread(self.index.add, [line], cost)
        except EmbedderUnavailable as down:
            raise EngineError(f"The embedder is down: {down}") from down

    async def _describe(self, clip: VideoClip) -> CaptionText:
        sampling = Sampling(max_tokens=self.how.tokens)
        if clip.level == self.levels[0]:
            pictures = await self._eyes.load(uniform(clip.span, self.how.count(clip)))
            words = await self._eyes.describe(pictures, DESCRIBE, sampling, "caption")
        else:
            finer = self.levels[self.levels.index(clip.level) - 1]
            lines = await self.lines(clip.span, level=finer, sources=_CAPTION)
            if not lines:
                raise BadVideo("None of the shorter clips in this one has a caption.")
            words = await self._eyes.describe((), summarise_prompt(clip, lines), sampling, "summary")
        return words._replace(text=one_line(words.text))


def _cache_key(asked: str, span: Span) -> str:
    """Under what the answer is kept when this is asked about a span."""
    return f"{_ASKED}{hashlib.sha256(asked.encode()).hexdigest()[:16]}:{span.start:g}-{span.end:g}"


class Captioner:
    """One video, one engine, and whose meter pays. Keeps no frames: a whole video passes by."""

    def __init__(self, video: VideoSource, engine: Engine, meter: BudgetMeter, ledger: RunUsage, trace: Trace) -> None:
        self._video = video
        self._engine = engine
        self._ledger = ledger
        self._client = ModelClient(engine, meter, ledger, trace)

    async def load(self, moments: Sequence[SampleWindow]) -> tuple[Picture, ...]:
        """Decode frames off the event loop, in order of time. Raises BadVideo."""
        began, side = perf_counter(), self._engine.side
        seen = await load_frames(self._video, moments, side)
        self._ledger.seconds["decode"] += perf_counter() - began
        self._ledger.add_degradation(*seen.degraded)
        frames = {frame.time: frame for frame in seen.frames}
        return tuple(Picture(frames[time], f"{self._video.id}:{time:.6f}:{side}") for time in sorted(frames))

    async def describe(self, pictures: Sequence[Picture], text: str, sampling: Sampling, purpose: str) -> CaptionText:
        """The model's words about some pictures. Raises BudgetExceeded, EngineError, PromptTooLong."""
        began = perf_counter()
        generation = await self._client.generate(pictures, text, sampling, 1, purpose=purpose, shrink=False)
        cost = {
            "calls": 1.0,
            "frames": float(len(pictures)),
            "prompt_tokens": float(generation.prompt_tokens),
            "completion_tokens": float(generation.completion_tokens),
            "seconds": perf_counter() - began,
        }
        self._ledger.record_caption(cost)
        return CaptionText(generation.replies[0].text, cost)

    def degrade(self, reason: str) -> None:
        """Tell whoever pays what could not be done as it should be."""
        self._ledger.add_degradation(reason)
