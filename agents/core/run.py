"""The one door through which a strategy reaches video and model: metered, traced, cached, cancellable."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property, partial
from typing import Any, TypeVar

from agents.captions import CaptionConfig, Captioner, Captions
from agents.core.budget import Budget, BudgetExceeded, BudgetMeter, TokenPool
from agents.core.frames import FrameLoader
from agents.core.model_client import MeteredEngine, ModelClient, opening_prompt
from agents.core.question import Answer, Candidate, Evidence, Question, StopReason
from agents.core.tools import ToolResult, run_tool, tool_event
from agents.core.trace import AnswerEvent, InfoEvent, OnDelta, OnEvent, SpanBeginEvent, SpanEndEvent, Trace
from agents.core.usage import RunUsage
from agents.engines.base import Engine, Picture
from tools.base import BaseTool, FrameRequest
from tools.context import Detector, TextReader, ToolContext, ViewLimits
from tools.index.index import Index
from tools.video.frame import frame_sides
from tools.video.sampling import SampleWindow, Span
from tools.video.source import VideoSource

T = TypeVar("T")


class Run(ModelClient):
    """One question to one video with one engine under one budget.

    `span` is the part of the film that may be looked at, in seconds. `best` is the answer proposed so far. `index`
    opens what is known of the film in words, once that is wanted: without one, it is nothing at first, and forgotten
    afterwards. `purse` holds what runs have together. `follower` reads along while the model writes. `reader` and
    `detector` are extras that some tools need.
    """

    def __init__(
        self,
        question: Question,
        video: VideoSource,
        engine: Engine,
        *,
        span: Span | None = None,
        budget: Budget | None = None,
        purse: TokenPool | None = None,
        seed: int = 0,
        listener: OnEvent | None = None,
        follower: OnDelta | None = None,
        index: Callable[[], Index] | None = None,
        captioning: CaptionConfig | None = None,
        reader: TextReader | None = None,
        detector: Detector | None = None,
    ) -> None:
        self.span = span or video.span
        self.budget = budget or Budget()
        self.best_answer: Answer | None = None
        trace, ledger, meter = Trace(listener, follower), RunUsage(), BudgetMeter(self.budget, purse)
        self._meter = meter
        metered = MeteredEngine(engine, meter, ledger, trace, opening_prompt(question))
        super().__init__(question, engine, metered, ledger, trace, seed)
        self._index = index or partial(Index, video.span.end)
        self._captioning = captioning
        self._extras = (reader, detector)
        self._video = video
        self._viewer = FrameLoader(video, engine.side, self.usage, self.trace)

    @cached_property
    def captions(self) -> Captions:
        """What is known of the film in words, and the means to know more."""
        eyes = Captioner(self._video, self._engine, self._meter, self.usage, self.trace)
        return Captions(self._index(), eyes, self._captioning)

    async def look(self, moments: Sequence[SampleWindow]) -> tuple[Picture, ...]:
        """Decode frames off the event loop, each once, in order of time. Raises BadVideo."""
        return await self._viewer.load(moments)

    @property
    def last_pictures(self) -> tuple[Picture, ...]:
        """The pictures of the last look."""
        return self._viewer.latest

    def tool_context(self, limits: ViewLimits | None = None) -> ToolContext:
        """What tools may look at."""
        sides = frame_sides(self._engine.side, self._engine.min_side)
        sizes = tuple((side, self._engine.frame_tokens(side)) for side in sides)
        known = self.captions
        return ToolContext(
            self._video, self.span, known.index, limits or ViewLimits(), sizes, known.levels[0], *self._extras
        )

    async def call_tool(self, tool: BaseTool, scene: ToolContext) -> ToolResult:
        """Apply a tool, and bring the pictures that it wants shown. What goes wrong is part of the result."""
        result = await run_tool(tool, self, scene)
        self.usage.tool_calls += 1
        self.usage.record_facts(result.observation.data)
        self.trace.add(tool_event(result))
        return result

    async def load_exhibit(self, exhibit: FrameRequest) -> tuple[Picture, ...]:
        """The pictures that a tool wants shown. Raises BadVideo."""
        if exhibit.box is not None:
            return await self._viewer.load_crop(exhibit.moments, exhibit.box)
        pictures = await self.look(exhibit.moments)
        return pictures if exhibit.side is None else tuple(each.resized(exhibit.side) for each in pictures)

    async def gather(self, asks: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
        """Await several asks at once. The first failure cancels the rest and is raised as it is."""
        tasks = [asyncio.ensure_future(each) for each in asks]
        try:
            return list(await asyncio.gather(*tasks))
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def gather_affordable(self, asks: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
        """Await several asks at once and leave out those that the budget has no room for.

        Raises BudgetExceeded if there is room for none.
        """
        results = await self.gather(_or_limit(each) for each in asks)
        made = [result for result in results if not isinstance(result, BudgetExceeded)]
        limits = [result for result in results if isinstance(result, BudgetExceeded)]
        if limits and not made:
            raise limits[0]
        if limits:
            self.usage.add_degradation(f"budget: {limits[0]}")
        return made

    def propose(
        self,
        value: str | None,
        confidence: float | None = None,
        *,
        shares: Mapping[str, float] | None = None,
        confidences: Mapping[str, float] | None = None,
        evidence: tuple[Evidence, ...] = (),
        stopped: StopReason = "complete",
    ) -> Answer:
        """Record the best answer so far and return it: it is the result if a limit is reached from now on."""
        spread = shares if shares is not None else {} if value is None else {value: 1.0}
        known = {
            **({} if value is None or confidence is None else {value: confidence}),
            **(confidences or {}),
        }
        answer = Answer(
            value=value,
            confidence=confidence,
            candidates=tuple(self._candidate(each, share, known.get(each)) for each, share in spread.items()),
            evidence=evidence,
            stopped="unparsed" if value is None else stopped,
        )
        if value is not None or self.best_answer is None:
            self.best_answer = answer
        self.trace.add(AnswerEvent(answer=None if value is None else self.display(value), confidence=confidence))
        return answer

    def close(self) -> None:
        """Give back what was reserved and not used."""
        self._meter.close()

    def note(self, text: str, **data: Any) -> None:
        """Tell the reader of the trace something."""
        self.trace.add(InfoEvent(text=text, data=data))

    @contextmanager
    def round(self, name: str) -> Iterator[None]:
        """Mark a round of looking and asking in the trace."""
        self.usage.rounds += 1
        self.trace.add(SpanBeginEvent(span=name))
        try:
            yield
        finally:
            self.trace.add(SpanEndEvent(span=name))

    def _candidate(self, value: str, share: float, confidence: float | None) -> Candidate:
        option = value if self.question.kind == "choice" else None
        return Candidate(answer=self.display(value), option=option, share=share, confidence=confidence)


async def _or_limit(ask: Coroutine[Any, Any, T]) -> T | BudgetExceeded:
    try:
        return await ask
    except BudgetExceeded as limit:
        return limit
