"""A run: the one object through which a strategy reaches the video and the model."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property, partial
from random import Random
from typing import Any, TypeVar
from zlib import crc32

from agents.captions import CaptionConfig, Captioner, Captions
from agents.core.budget import Budget, BudgetExceeded, BudgetMeter, TokenPool
from agents.core.context_fit import prompt_fits
from agents.core.frames import FrameLoader
from agents.core.model_client import ModelClient, compose_prompt, opening_prompt
from agents.core.question import Answer, Candidate, Evidence, Question, StopReason
from agents.core.tools import ToolResult, measure_tool, tool_event
from agents.core.trace import (
    AnswerEvent,
    InfoEvent,
    OnDelta,
    OnEvent,
    SpanBeginEvent,
    SpanEndEvent,
    StablePrefix,
    Trace,
)
from agents.core.usage import RunUsage
from agents.engines.base import Capability, Engine, Generation, Picture, Prompt, Reply, Sampling, pictures_of, texts_of
from agents.parsing.answers import Sample, parse_answer, parse_sample, sample_from_probabilities, stable_answer
from agents.parsing.confidence import normalise
from agents.parsing.structured import StructuredOutput, parse_structured
from agents.prompts import agentic, questions
from tools.base import BaseTool, Fact, FrameRequest, Observation, Tool
from tools.context import Detector, TextReader, ToolContext, ViewLimits
from tools.index.index import Index
from tools.video.frame import frame_sides
from tools.video.sampling import SampleWindow, Span
from tools.video.source import VideoSource

S = TypeVar("S", bound=StructuredOutput)
T = TypeVar("T")

_REPLY_SHARE = 4  # a reply in a conversation takes at most this part of what the model reads
_REPAIR_TEMPERATURE = 0.7  # temperature at which structured output is asked for again that could not be read


class Run:
    """One question to one video with one engine under one budget.

    Everything that it does is metered, traced and cancellable. `span` is the part of the video that may be looked at,
    in seconds; `best_answer` is the answer proposed so far. `index` opens the caption index when it is first needed;
    without it, captions are kept in memory and lost afterwards. `token_pool` is shared with other runs. `on_event`
    receives every event of the trace, `on_delta` the words of replies while the model writes them. `text_reader` and
    `detector` are needed by the tools `ocr` and `detect` only.
    """

    def __init__(
        self,
        question: Question,
        video: VideoSource,
        engine: Engine,
        *,
        span: Span | None = None,
        budget: Budget | None = None,
        token_pool: TokenPool | None = None,
        seed: int = 0,
        on_event: OnEvent | None = None,
        on_delta: OnDelta | None = None,
        index: Callable[[], Index] | None = None,
        caption_config: CaptionConfig | None = None,
        text_reader: TextReader | None = None,
        detector: Detector | None = None,
    ) -> None:
        self.question = question
        self.span = span or video.span
        self.budget = budget or Budget()
        self.best_answer: Answer | None = None
        self.opening = opening_prompt(question)
        self.usage = RunUsage()
        self.trace = Trace(on_event, on_delta)
        self.random = Random(seed)
        self._seed = seed
        self._calls_made: Counter[bytes] = Counter()
        self._displayed: dict[str, str] = {}
        self._engine = engine
        self._video = video
        self._index = index or partial(Index, video.span.end)
        self._caption_config = caption_config
        self._extras = (text_reader, detector)
        self._meter = BudgetMeter(self.budget, token_pool)
        self._client = ModelClient(engine, self._meter, self.usage, self.trace, self.opening)
        self._frames = FrameLoader(video, engine.side, self.usage, self.trace)

    @cached_property
    def captions(self) -> Captions:
        """Captions of the video, and the means to make more."""
        captioner = Captioner(self._video, self._engine, self._meter, self.usage, self.trace)
        return Captions(self._index(), captioner, self._caption_config)

    async def look(self, moments: Sequence[SampleWindow]) -> tuple[Picture, ...]:
        """Decode frames off the event loop, each once, in order of time. Raises BadVideo."""
        return await self._frames.load(moments)

    @property
    def last_pictures(self) -> tuple[Picture, ...]:
        """The pictures of the last look."""
        return self._frames.latest

    def tool_context(self, limits: ViewLimits | None = None) -> ToolContext:
        """What tools may look at."""
        sides = frame_sides(self._engine.side, self._engine.min_side)
        sizes = tuple((side, self._engine.frame_tokens(side)) for side in sides)
        known = self.captions
        return ToolContext(
            self._video, self.span, known.index, limits or ViewLimits(), sizes, known.levels[0], *self._extras
        )

    async def call_tool(self, tool: BaseTool, context: ToolContext) -> ToolResult:
        """Call a tool and load the pictures that it wants shown. A failure is part of the result, never raised."""
        result = await measure_tool(tool, self.usage, self._apply_tool(tool, context))
        self.usage.tool_calls += 1
        self.usage.record_facts(result.observation.data)
        self.trace.add(tool_event(result))
        return result

    async def _load_requested(self, request: FrameRequest) -> tuple[Picture, ...]:
        """The pictures that a tool wants shown. Raises BadVideo."""
        if request.box is not None:
            return await self._frames.load_crop(request.moments, request.box)
        pictures = await self.look(request.moments)
        return pictures if request.side is None else tuple(each.resized(request.side) for each in pictures)

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

    async def ask(
        self,
        pictures: Sequence[Picture],
        sampling: Sampling,
        n: int = 1,
        style: questions.AnswerStyle = "direct",
        *,
        final: bool = False,
    ) -> list[Sample]:
        """Ask the question in one call, draw n replies and read them.

        `final`: the reply will be used as the answer, so an open answer may be streamed.
        """
        text = questions.ask(self.question, style, self._engine.answer_format)
        if self.question.kind == "open" and style == "think":  # what strategies allow is for the thinking alone
            sampling = replace(sampling, max_tokens=sampling.max_tokens + self.question.max_tokens)
        sampling = replace(sampling, think=style == "think")
        known = partial(stable_answer, style=style) if final and self.question.kind == "open" else None
        generation = await self._generate(pictures, text, sampling, n, style, known)
        return [self.parse(reply, style) for reply in generation.replies]

    async def choose(self, pictures: Sequence[Picture], rotation: int = 0, *, final: bool = False) -> Sample:
        """Answer directly, by option probabilities where the options can be listed, else greedily. `final`: see `ask`.

        `rotation` shows the options rotated by so many places; the value returned is that of the original order.
        """
        probabilities = await self.choice_probabilities(pictures, rotation)
        if probabilities is None:
            return (await self.ask(pictures, Sampling(max_tokens=self.question.max_tokens), final=final))[0]
        return sample_from_probabilities(probabilities, self.question)

    async def choice_probabilities(
        self, pictures: Sequence[Picture], rotation: int = 0, known: Sequence[Fact] = ()
    ) -> dict[str, float] | None:
        """Probability of every value of the question; None if they cannot be listed or the engine does not say.

        `known` is told beside the pictures, as data.
        """
        values = self.question.values
        if not values or "choices" not in self._engine.capabilities:
            return None
        shown, original = self.question.rotated(rotation)
        words = self._choice_words(shown)
        text = agentic.with_facts(known, questions.ask(shown, "direct", self._engine.answer_format))
        chances = await self._choose_one(pictures, text, words, "choose")
        return chances and {original[value]: chances[word] for value, word in zip(values, words, strict=True)}

    async def verify(self, pictures: Sequence[Picture], value: str) -> float:
        """P(yes) of a fresh question whether a proposed answer is right; one half if the engine cannot say."""
        text = questions.verify(self.question, self.display(value))
        known = await self._choose_one(pictures, text, ("yes", "no"), "verify")
        if known is None:
            self.usage.add_degradation("the engine gave no probability for a verdict, which counts as undecided")
        return 0.5 if known is None else known["yes"]

    async def yes_probability(self, pictures: Sequence[Picture], text: str) -> float | None:
        """P(yes) of a question in any words about some pictures; see `yes_probability_of`."""
        return await self.yes_probability_of(compose_prompt(pictures, text, self.opening))

    async def yes_probability_of(self, prompt: Prompt) -> float | None:
        """P(yes) at the end of a prompt: 1 or 0 if the engine only writes, None if it writes neither."""
        sampling = Sampling(max_tokens=1 if "choices" in self.capabilities else 8, choices=("yes", "no"))
        reply = await self.send(prompt, sampling, "verify")
        if reply.probabilities is not None:
            return normalise({each: reply.probabilities.get(each, 0.0) for each in sampling.choices})["yes"]
        said = parse_answer(Question(text="?", kind="yesno"), reply.text)
        return None if said is None else float(said == "yes")

    @property
    def capabilities(self) -> frozenset[Capability]:
        """What the engine can do beyond text."""
        return self._engine.capabilities

    @property
    def answers_in_words(self) -> bool:
        """Whether the model is so small that it states its choice in the options' words."""
        return self._engine.answer_format == "text"

    @property
    def question_text(self) -> str:
        """The question and its options, in words."""
        return questions.statement(self.question)

    @property
    def instruction(self) -> str:
        """How to answer at once."""
        return questions.instruction(self.question.kind, "direct", self._engine.answer_format)

    @property
    def thinking_instruction(self) -> str:
        """How to answer after thinking."""
        return questions.instruction(self.question.kind, "think", self._engine.answer_format)

    @property
    def answer_description(self) -> str:
        """What an answer consists of, in words."""
        return questions.final(self.question.kind, self._engine.answer_format)

    def parse(self, reply: Reply, style: questions.AnswerStyle = "think") -> Sample:
        """A reply in any conversation, read as an answer to the question."""
        said = parse_sample(self.question, reply, style)
        if said.value is not None:
            self._displayed.setdefault(said.value, said.display)
        return said

    def capped(self, sampling: Sampling) -> Sampling:
        """The sampling with `max_tokens` at most a quarter of the context."""
        room = self._engine.context
        return (
            sampling if room is None else replace(sampling, max_tokens=min(sampling.max_tokens, room // _REPLY_SHARE))
        )

    async def fits(self, prompt: Prompt, sampling: Sampling) -> bool:
        """Whether the model can read a prompt and write a reply. Raises EngineError."""
        return await prompt_fits(self._engine, prompt, sampling)

    async def ask_freely(self, pictures: Sequence[Picture], text: str, sampling: Sampling, purpose: str) -> Reply:
        """Ask something in any words about some pictures and draw one reply."""
        return await self.send(compose_prompt(pictures, text, self.opening), sampling, purpose)

    async def send(self, prompt: Prompt, sampling: Sampling, purpose: str) -> Reply:
        """Send a whole conversation and draw one reply. `opening` belongs before it."""
        sampling = self.capped(sampling)
        seeded = replace(
            sampling, seed=self._seed_of(purpose, sampling.temperature, texts_of(prompt), pictures_of(prompt))
        )
        return (await self._client.send(prompt, seeded, 1, purpose=purpose)).replies[0]

    async def choose_after(self, prompt: Prompt) -> Sample:
        """The answer at the end of a conversation whose last words ask for it, read as that of `choose`."""
        values, words = self.question.values, self._choice_words(self.question)
        listed = bool(values) and "choices" in self._engine.capabilities
        sampling = Sampling(max_tokens=1, choices=words) if listed else Sampling(max_tokens=self.question.max_tokens)
        reply = await self.send(prompt, sampling, "conclude")
        if listed and reply.probabilities is not None:
            known = normalise({v: reply.probabilities.get(w, 0.0) for v, w in zip(values, words, strict=True)})
            return sample_from_probabilities(known, self.question)
        return self.parse(reply)

    async def ask_structured(
        self, slots: type[S], text: str, pictures: Sequence[Picture] = (), *, purpose: str, max_tokens: int = 512
    ) -> S | None:
        """Ask for slots to be filled, a second time with some heat; None if the model does not fill them."""
        schema = slots.response_schema() if "schema" in self._engine.capabilities else None
        prompt = compose_prompt(pictures, text if schema else f"{text}\n{slots.as_example()}", self.opening)
        for heat in (0.0, _REPAIR_TEMPERATURE):
            reply = await self.send(prompt, Sampling(temperature=heat, max_tokens=max_tokens, schema=schema), purpose)
            if reply.finish != "length" and (filled := parse_structured(slots, reply.text)) is not None:
                return filled
        self.trace.add(InfoEvent(text=f"the model did not fill the slots of: {purpose}"))
        return None

    def affords(self, prompt: Prompt, sampling: Sampling, times: int = 1) -> bool:
        """Whether the budget has room for so many calls like this one."""
        return self._client.affords(prompt, sampling, times)

    def display(self, value: str) -> str:
        """The words a person reads for a value."""
        written = self.question.kind in ("text", "open")
        return self._displayed.get(value, value) if written else self.question.display(value)

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

    async def _apply_tool(self, tool: BaseTool, context: ToolContext) -> tuple[Observation, tuple[Picture, ...]]:
        if isinstance(tool, ModelTool):
            observation = await tool.apply(self, context)
        elif isinstance(tool, Tool):
            observation = await asyncio.to_thread(tool.apply, context)
        else:
            raise TypeError(f"{tool.name} cannot be applied")
        request = observation.frame_request
        return observation, () if request is None else await self._load_requested(request)

    async def _choose_one(
        self, pictures: Sequence[Picture], text: str, choices: tuple[str, ...], purpose: str
    ) -> dict[str, float] | None:
        sampling = Sampling(max_tokens=1, choices=choices)
        reply = (await self._generate(pictures, text, sampling, 1, purpose)).replies[0]
        if reply.probabilities is None:
            return None
        return normalise({each: reply.probabilities.get(each, 0.0) for each in choices})

    async def _generate(
        self,
        pictures: Sequence[Picture],
        text: str,
        sampling: Sampling,
        n: int,
        purpose: str,
        known: StablePrefix | None = None,
    ) -> Generation:
        seeded = replace(sampling, seed=self._seed_of(purpose, sampling.temperature, (text,), pictures))
        shrink = self.usage.calls == 0  # a first answer, however small, is worth more than none
        return await self._client.generate(pictures, text, seeded, n, purpose=purpose, shrink=shrink, stable=known)

    def _seed_of(self, purpose: str, temperature: float, texts: tuple[str, ...], pictures: Sequence[Picture]) -> int:
        """The seed of a call: the same inputs give the same seed, in whatever order calls are made.

        A repeated call gets the next seed.
        """
        said = repr((self._seed, purpose, temperature, texts, [each.key for each in pictures])).encode()
        self._calls_made[said] += 1
        return crc32(said, self._calls_made[said]) >> 1

    def _choice_words(self, question: Question) -> tuple[str, ...]:
        """The question's values in the words in which the model chooses among them."""
        return question.options if self._engine.answer_format == "text" and question.options else question.values


async def _or_limit(ask: Coroutine[Any, Any, T]) -> T | BudgetExceeded:
    try:
        return await ask
    except BudgetExceeded as limit:
        return limit


class ModelTool(BaseTool):
    """A tool that asks the model: it works through the run, whose budget pays for it."""

    async def apply(self, run: Run, context: ToolContext) -> Observation:
        """What the tool finds.

        Raises ToolError for what the model must change, BadVideo, BudgetExceeded, EngineError and PromptTooLong.
        """
        raise NotImplementedError
