"""The one door through which a strategy reaches video and model: metered, traced, cached, cancellable."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from random import Random
from time import perf_counter
from typing import Any, TypeVar

from agents import prompts
from agents.answer import Answer, Candidate, Question, Stop
from agents.budget import Budget, BudgetExceeded, Meter
from agents.captions import Captions
from agents.confidence import normalise
from agents.conversation import opening
from agents.engine import Engine, Generation, Picture, Sampling
from agents.ledger import Ledger
from agents.metered import MeteredEngine
from agents.onlooker import Onlooker
from agents.sample import Sample, chosen, sample
from agents.trace import Began, Ended, Listener, Looked, Noted, Proposed, Trace
from tools.footage import Footage
from tools.index import Index
from tools.limits import BadVideo
from tools.moment import Moment, Span

T = TypeVar("T")


class Run:
    """One question to one video with one engine under one budget.

    `span` is the part of the film that may be looked at, in seconds. `best` is the answer proposed so far. `captions`
    are what is known of the film in words: without an `index`, nothing at first, and it is forgotten afterwards.
    """

    def __init__(
        self,
        question: Question,
        video: Footage,
        engine: Engine,
        *,
        span: Span | None = None,
        budget: Budget | None = None,
        seed: int = 0,
        listener: Listener | None = None,
        index: Index | None = None,
    ) -> None:
        self.question = question
        self.span = span or video.span
        self.budget = budget or Budget()
        self.trace = Trace(listener)
        self.ledger = Ledger()
        self.random = Random(seed)
        self.best: Answer | None = None
        self._video = video
        self._engine = engine
        meter = Meter(self.budget)
        self._metered = MeteredEngine(engine, meter, self.ledger, self.trace, opening(question))
        eyes = Onlooker(video, engine, meter, self.ledger, self.trace)
        self.captions = Captions(index or Index(video.span.end), eyes)
        self._words: dict[str, str] = {}
        self._pictures: dict[Moment, Picture] = {}

    async def look(self, moments: Sequence[Moment]) -> tuple[Picture, ...]:
        """Decode frames off the event loop, each once, in order of time. Raises BadVideo."""
        began = perf_counter()
        missing = [moment for moment in dict.fromkeys(moments) if moment not in self._pictures]
        if missing:
            await self._decode(missing)
        seconds = perf_counter() - began
        self.ledger.seconds["decode"] += seconds
        found = {p.key: p for moment in moments if (p := self._pictures.get(moment)) is not None}
        pictures = tuple(sorted(found.values(), key=lambda picture: picture.time))
        if moments and not pictures:
            raise BadVideo("None of the frames that were asked for can be read.")
        self.trace.add(Looked(times=tuple(round(each.time, 3) for each in pictures), seconds=seconds))
        return pictures

    async def ask(
        self, pictures: Sequence[Picture], sampling: Sampling, n: int = 1, style: prompts.Style = "direct"
    ) -> list[Sample]:
        """Ask the question in one call, draw n replies and read them."""
        text = prompts.ask(self.question, style, self._engine.manner)
        if self.question.kind == "open" and style == "think":  # what strategies allow is for the thinking alone
            sampling = replace(sampling, max_tokens=sampling.max_tokens + self.question.length)
        sampling = replace(sampling, think=style == "think")
        generation = await self._generate(pictures, text, sampling, n, style)
        samples = [sample(self.question, reply) for reply in generation.replies]
        for each in samples:
            if each.value is not None:
                self._words.setdefault(each.value, each.words)
        return samples

    async def choose(self, pictures: Sequence[Picture], rotation: int = 0) -> Sample:
        """Answer directly, by option probabilities where the options can be listed, else greedily.

        `rotation` shows the options rotated by so many places; the value returned is that of the original order.
        """
        probabilities = await self.weigh(pictures, rotation)
        if probabilities is None:
            return (await self.ask(pictures, Sampling(max_tokens=self.question.length)))[0]
        return chosen(probabilities, self.question)

    async def weigh(self, pictures: Sequence[Picture], rotation: int = 0) -> dict[str, float] | None:
        """Probability of every value of the question; None if they cannot be listed or the engine does not say."""
        values = self.question.values
        if not values or "choices" not in self._engine.offers:
            return None
        shown, original = _rotated(self.question, rotation)
        words = shown.options if self._engine.manner == "text" and shown.options else values
        text = prompts.ask(shown, "direct", self._engine.manner)
        known = await self._choose_one(pictures, text, words, "choose")
        return known and {original[value]: known[word] for value, word in zip(values, words, strict=True)}

    async def verify(self, pictures: Sequence[Picture], value: str) -> float:
        """P(yes) of a fresh question whether a proposed answer is right; one half if the engine cannot say."""
        text = prompts.verify(self.question, self.show(value))
        known = await self._choose_one(pictures, text, ("yes", "no"), "verify")
        if known is None:
            self.ledger.degrade("the engine gave no probability for a verdict, which counts as undecided")
        return 0.5 if known is None else known["yes"]

    async def together(self, asks: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
        """Await several asks at once. The first failure cancels the rest and is raised as it is."""
        tasks = [asyncio.ensure_future(each) for each in asks]
        try:
            return list(await asyncio.gather(*tasks))
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def affordable(self, asks: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
        """Await several asks at once and leave out those that the budget has no room for.

        Raises BudgetExceeded if there is room for none.
        """
        results = await self.together(_or_limit(each) for each in asks)
        made = [result for result in results if not isinstance(result, BudgetExceeded)]
        limits = [result for result in results if isinstance(result, BudgetExceeded)]
        if limits and not made:
            raise limits[0]
        if limits:
            self.ledger.degrade(f"budget: {limits[0]}")
        return made

    def propose(
        self,
        value: str | None,
        confidence: float | None = None,
        *,
        shares: Mapping[str, float] | None = None,
        confidences: Mapping[str, float] | None = None,
        stopped: Stop = "complete",
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
            stopped="unreadable" if value is None else stopped,
        )
        if value is not None or self.best is None:
            self.best = answer
        self.trace.add(Proposed(answer=None if value is None else self.show(value), confidence=confidence))
        return answer

    def show(self, value: str) -> str:
        """The words a person reads for a value."""
        written = self.question.kind in ("text", "open")
        return self._words.get(value, value) if written else self.question.show(value)

    def note(self, text: str, **data: Any) -> None:
        """Tell the reader of the trace something."""
        self.trace.add(Noted(text=text, data=data))

    @contextmanager
    def round(self, name: str) -> Iterator[None]:
        """Mark a round of looking and asking in the trace."""
        self.ledger.rounds += 1
        self.trace.add(Began(span=name))
        try:
            yield
        finally:
            self.trace.add(Ended(span=name))

    async def _decode(self, moments: Sequence[Moment]) -> None:
        look = await asyncio.to_thread(self._video.look, moments, self._engine.side)
        self.ledger.degrade(*look.degraded)
        whole = len(look.frames) == len(moments)
        for index, frame in enumerate(look.frames):
            # Of a damaged film some moments bring no frame: then each frame belongs to the moment nearest to it.
            moment = moments[index] if whole else min(moments, key=lambda each: abs(each.time - frame.time))
            key = f"{self._video.id}:{frame.time:.6f}:{self._engine.side}"
            self._pictures[moment] = Picture(frame, key)

    async def _choose_one(
        self, pictures: Sequence[Picture], text: str, choices: tuple[str, ...], purpose: str
    ) -> dict[str, float] | None:
        sampling = Sampling(max_tokens=1, choices=choices)
        reply = (await self._generate(pictures, text, sampling, 1, purpose)).replies[0]
        if reply.probabilities is None:
            return None
        return normalise({each: reply.probabilities.get(each, 0.0) for each in choices})

    async def _generate(
        self, pictures: Sequence[Picture], text: str, sampling: Sampling, n: int, purpose: str
    ) -> Generation:
        seeded = replace(sampling, seed=self.random.randrange(2**31))
        shrink = self.ledger.calls == 0  # a first answer, however small, is worth more than none
        return await self._metered.generate(pictures, text, seeded, n, purpose=purpose, shrink=shrink)

    def _candidate(self, value: str, share: float, confidence: float | None) -> Candidate:
        option = value if self.question.kind == "choice" else None
        return Candidate(answer=self.show(value), option=option, share=share, confidence=confidence)


async def _or_limit(ask: Coroutine[Any, Any, T]) -> T | BudgetExceeded:
    try:
        return await ask
    except BudgetExceeded as limit:
        return limit


def _rotated(question: Question, by: int) -> tuple[Question, dict[str, str]]:
    """The question with its options rotated, and the original value behind each value shown."""
    values, options = question.values, question.options
    if not options:
        return question, {value: value for value in values}
    by %= len(options)
    shown = question.model_copy(update={"options": options[by:] + options[:by]})
    return shown, dict(zip(values, values[by:] + values[:by], strict=True))
