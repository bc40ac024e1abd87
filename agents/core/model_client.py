"""The model as a run uses it: prompts are composed, calls are metered and traced, replies are parsed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import partial
from random import Random
from time import perf_counter
from typing import TypeVar
from zlib import crc32

from agents.core.budget import BudgetMeter, CallCost
from agents.core.context_fit import FittedPrompt, fit_prompt, prompt_fits, thin_out, tool_token_bound
from agents.core.question import Question
from agents.core.trace import InfoEvent, ModelEvent, StablePrefix, Trace
from agents.core.usage import RunUsage
from agents.engines.base import (
    Capability,
    Engine,
    Generation,
    Message,
    OnText,
    Picture,
    Prompt,
    PromptTooLong,
    Reply,
    Sampling,
    pictures_of,
    prompt_token_bound,
    texts_of,
)
from agents.parsing.answers import Sample, parse_sample, sample_from_probabilities, stable_answer
from agents.parsing.answers import parse_answer as read_value
from agents.parsing.confidence import normalise
from agents.parsing.structured import StructuredOutput, parse_structured
from agents.prompts import agentic, questions
from tools.base import Fact


def opening_prompt(question: Question) -> Prompt:
    """What every prompt of a run begins with: instructions and earlier turns, those of one speaker joined."""
    told = (Message("system", (question.instructions,)),) if question.instructions else ()
    turns: list[Message] = []
    for turn in question.history:
        if turns and turns[-1].role == turn.role:
            turns[-1] = replace(turns[-1], parts=(*turns[-1].parts, f"\n{turn.text}"))
        else:
            turns.append(Message(turn.role, (turn.text,)))
    return (*told, *turns)


def compose_prompt(pictures: Sequence[Picture], text: str, before: Prompt = ()) -> Prompt:
    """The prompt for one call: pictures first in the user's first turn, so that calls share a long prefix."""
    spoken = [message for message in before if message.role != "system"]
    if spoken and spoken[-1].role == "user":
        said = spoken.pop()
        turns = [*spoken, replace(said, parts=(*said.parts, f"\n{text}"))]
    else:
        turns = [*spoken, Message("user", (text,))]
    first = next(place for place, turn in enumerate(turns) if turn.role == "user")
    if pictures:
        words, *rest = turns[first].parts
        turns[first] = replace(turns[first], parts=(*pictures, f"\n{words}", *rest))
    return (*(message for message in before if message.role == "system"), *turns)


_SHORTEST_REPLY = 64  # tokens; a reply shorter than this is only allowed where no more was asked for


class MeteredEngine:
    """An engine that cannot be used without paying. `before` is what every question's prompt begins with."""

    def __init__(self, engine: Engine, meter: BudgetMeter, ledger: RunUsage, trace: Trace, before: Prompt = ()) -> None:
        self._engine = engine
        self._before = before
        self._meter = meter
        self._ledger = ledger
        self._trace = trace

    async def generate(
        self,
        pictures: Sequence[Picture],
        text: str,
        sampling: Sampling,
        n: int,
        *,
        purpose: str,
        shrink: bool,
        settled: StablePrefix | None = None,
    ) -> Generation:
        """Ask once about some pictures. With `shrink`, a call too big for the budget is made smaller, not refused.

        `settled`: see `Draft`. Raises what `send` raises.
        """
        if shrink:
            pictures, sampling, n = self._fit(pictures, text, sampling, n)
        return await self.send(
            compose_prompt(pictures, text, self._before), sampling, n, purpose=purpose, settled=settled
        )

    async def send(
        self, prompt: Prompt, sampling: Sampling, n: int, *, purpose: str, settled: StablePrefix | None = None
    ) -> Generation:
        """Ask once. A prompt longer than the model reads is shown smaller, then fewer frames, and reported.

        A call that fails or is cancelled keeps its reservation: what it really used is unknown. A prompt that the
        engine finds too long all the same is shown smaller once more: now it knows better.
        Raises BudgetExceeded, EngineError, TooLong.
        """
        fitted = await fit_prompt(self._engine, prompt, sampling)
        try:
            return await self._send(fitted, sampling, n, purpose, settled)
        except PromptTooLong:  # what the engine has learned from this may be enough to make it fit
            again = await fit_prompt(self._engine, prompt, sampling)
            if _frame_sizes(again.prompt) == _frame_sizes(fitted.prompt):
                raise
            return await self._send(again, sampling, n, purpose, settled)

    async def _send(
        self, fitted: FittedPrompt, sampling: Sampling, n: int, purpose: str, settled: StablePrefix | None
    ) -> Generation:
        reserved = self._price(fitted.prompt, sampling, n)
        self._meter.reserve(reserved)
        pictures = pictures_of(fitted.prompt)
        view, call = self._ledger.record_frames(pictures), self._trace.call()
        began = perf_counter()
        try:
            with self._reply_stream(call, sampling, n, purpose, settled) as hear:
                generation = await self._engine.generate(fitted.prompt, sampling, n, hear)
        except PromptTooLong:  # refused unread
            self._meter.settle(reserved, CallCost())
            self._ledger.remove_frames(view)
            raise
        self._ledger.add_degradation(*fitted.degraded)
        seconds = perf_counter() - began
        tokens = generation.prompt_tokens + generation.completion_tokens
        self._meter.settle(reserved, replace(reserved, tokens=tokens))
        self._ledger.record_generation(generation, seconds)
        self._trace.add(_model_event(call, view.times, generation, purpose, seconds))
        return generation

    def _reply_stream(
        self, call: int, sampling: Sampling, n: int, purpose: str, settled: StablePrefix | None
    ) -> AbstractContextManager[OnText | None]:
        """Where the reply goes while it is written, if it can be told and somebody reads along."""
        if "stream" not in self._engine.capabilities or not sampling.streams(n):
            return nullcontext()
        return self._trace.reply_stream(call, purpose, settled)

    def affords(self, prompt: Prompt, sampling: Sampling, times: int) -> bool:
        """Whether the budget has room for so many calls like this one."""
        cost = self._price(prompt, sampling, 1)
        wanted = {"frames": cost.frames, "tokens": cost.tokens, "calls": cost.calls}
        return all(times * wanted[each] <= self._meter.left(each) for each in ("frames", "tokens", "calls"))

    def _price(self, prompt: Prompt, sampling: Sampling, n: int) -> CallCost:
        tokens = prompt_token_bound(self._engine, prompt) + tool_token_bound(sampling) + n * sampling.max_tokens
        return CallCost(frames=len(pictures_of(prompt)), tokens=tokens, calls=1)

    def _fit(
        self, pictures: Sequence[Picture], text: str, sampling: Sampling, n: int
    ) -> tuple[Sequence[Picture], Sampling, int]:
        """The largest call that the budget allows: fewer samples first, then shorter replies, then fewer frames."""
        left, shortest = self._meter.left("tokens"), min(_SHORTEST_REPLY, sampling.max_tokens)
        for count in range(int(min(self._meter.left("frames"), len(pictures))), 0, -1):
            shown = thin_out(pictures, count)
            room = left - prompt_token_bound(self._engine, compose_prompt(shown, text, self._before))
            if room >= shortest:
                break
        else:
            return pictures, sampling, n  # not even the smallest call fits: charging it says why
        drawn = int(max(1, min(n, room // sampling.max_tokens)))
        length = int(min(sampling.max_tokens, room))
        self._tell("shown {} of {} frames", len(shown), len(pictures))
        self._tell("drew {} of {} samples", drawn, n)
        self._tell("replies cut at {} instead of {} tokens", length, sampling.max_tokens)
        return shown, replace(sampling, max_tokens=length), drawn

    def _tell(self, words: str, fitted: int, wanted: int) -> None:
        if fitted < wanted:
            self._ledger.add_degradation("budget: " + words.format(fitted, wanted))


def _frame_sizes(prompt: Prompt) -> list[tuple[int, int]]:
    return [(picture.frame.width, picture.frame.height) for picture in pictures_of(prompt)]


def _model_event(
    call: int, times: tuple[float, ...], generation: Generation, purpose: str, seconds: float
) -> ModelEvent:
    return ModelEvent(
        call=call,
        purpose=purpose,
        times=times,
        replies=tuple(reply.text for reply in generation.replies),
        cut=sum(reply.finish == "length" for reply in generation.replies),
        prompt_tokens=generation.prompt_tokens,
        cached_tokens=generation.cached_tokens,
        completion_tokens=generation.completion_tokens,
        seconds=seconds,
    )


S = TypeVar("S", bound=StructuredOutput)

_REPLY_SHARE = 4  # a reply in a conversation takes at most this part of what the model reads
_REPAIR_TEMPERATURE = 0.7  # temperature at which slots are filled again that could not be read


class ModelClient:
    """One question and one model. `opening` is what every prompt begins with: instructions and earlier turns."""

    def __init__(
        self, question: Question, engine: Engine, metered: MeteredEngine, ledger: RunUsage, trace: Trace, seed: int
    ) -> None:
        self.question = question
        self.opening = opening_prompt(question)
        self.usage = ledger
        self.trace = trace
        self.random = Random(seed)
        self._seed = seed
        self._said: Counter[bytes] = Counter()
        self._engine = engine
        self._metered = metered
        self._words: dict[str, str] = {}

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

        What is `final` is the answer whatever it says, so an open answer may be shown as it is written.
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
        words = self._worded(shown)
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
        """P(yes) of a question in any words about some pictures; see `decide`."""
        return await self.yes_probability_of(compose_prompt(pictures, text, self.opening))

    async def yes_probability_of(self, prompt: Prompt) -> float | None:
        """P(yes) at the end of a prompt: 1 or 0 if the engine only writes, None if it writes neither."""
        sampling = Sampling(max_tokens=1 if "choices" in self.capabilities else 8, choices=("yes", "no"))
        reply = await self.send(prompt, sampling, "verify")
        if reply.probabilities is not None:
            return normalise({each: reply.probabilities.get(each, 0.0) for each in sampling.choices})["yes"]
        said = read_value(Question(text="?", kind="yesno"), reply.text)
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
            self._words.setdefault(said.value, said.display)
        return said

    def capped(self, sampling: Sampling) -> Sampling:
        """With a reply that leaves most of what the model reads to the prompt."""
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
        return (await self._metered.send(prompt, seeded, 1, purpose=purpose)).replies[0]

    async def choose_after(self, prompt: Prompt) -> Sample:
        """The answer at the end of a conversation whose last words ask for it, read as that of `choose`."""
        values, words = self.question.values, self._worded(self.question)
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
        return self._metered.affords(prompt, sampling, times)

    def display(self, value: str) -> str:
        """The words a person reads for a value."""
        written = self.question.kind in ("text", "open")
        return self._words.get(value, value) if written else self.question.display(value)

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
        return await self._metered.generate(pictures, text, seeded, n, purpose=purpose, shrink=shrink, settled=known)

    def _seed_of(self, purpose: str, temperature: float, texts: tuple[str, ...], pictures: Sequence[Picture]) -> int:
        """The seed of a call: made from what it says, so that it is the same whatever is asked at the same time.

        What is said again, as by strategies that draw one reply after another, gets another seed.
        """
        said = repr((self._seed, purpose, temperature, texts, [each.key for each in pictures])).encode()
        self._said[said] += 1
        return crc32(said, self._said[said]) >> 1

    def _worded(self, question: Question) -> tuple[str, ...]:
        """The question's values in the words in which the model chooses among them."""
        return question.options if self._engine.answer_format == "text" and question.options else question.values
