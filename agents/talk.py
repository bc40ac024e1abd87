"""What is said between a question and a model: metered, traced, read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from random import Random
from typing import TypeVar
from zlib import crc32

from agents import briefing, prompts
from agents.answer import Question
from agents.confidence import normalise
from agents.conversation import compose, opening
from agents.draft import Settled
from agents.engine import Engine, Generation, Offer, Picture, Prompt, Reply, Sampling, pictures_of, texts_of
from agents.fitting import fits
from agents.ledger import Ledger
from agents.metered import MeteredEngine
from agents.parse import read as read_value
from agents.parse import settled
from agents.sample import Sample, chosen, sample
from agents.slots import Slots, fill
from agents.trace import Noted, Trace
from tools.tool import Fact

S = TypeVar("S", bound=Slots)

_REPLY = 4  # a reply in a conversation takes at most this part of what the model reads
_REPAIR_HEAT = 0.7  # temperature at which slots are filled again that could not be read


class Talk:
    """One question and one model. `opening` is what every prompt begins with: instructions and earlier turns."""

    def __init__(
        self, question: Question, engine: Engine, metered: MeteredEngine, ledger: Ledger, trace: Trace, seed: int
    ) -> None:
        self.question = question
        self.opening = opening(question)
        self.ledger = ledger
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
        style: prompts.Style = "direct",
        *,
        final: bool = False,
    ) -> list[Sample]:
        """Ask the question in one call, draw n replies and read them.

        What is `final` is the answer whatever it says, so an open answer may be shown as it is written.
        """
        text = prompts.ask(self.question, style, self._engine.manner)
        if self.question.kind == "open" and style == "think":  # what strategies allow is for the thinking alone
            sampling = replace(sampling, max_tokens=sampling.max_tokens + self.question.length)
        sampling = replace(sampling, think=style == "think")
        known = partial(settled, style=style) if final and self.question.kind == "open" else None
        generation = await self._generate(pictures, text, sampling, n, style, known)
        return [self.read(reply, style) for reply in generation.replies]

    async def choose(self, pictures: Sequence[Picture], rotation: int = 0, *, final: bool = False) -> Sample:
        """Answer directly, by option probabilities where the options can be listed, else greedily. `final`: see `ask`.

        `rotation` shows the options rotated by so many places; the value returned is that of the original order.
        """
        probabilities = await self.weigh(pictures, rotation)
        if probabilities is None:
            return (await self.ask(pictures, Sampling(max_tokens=self.question.length), final=final))[0]
        return chosen(probabilities, self.question)

    async def weigh(
        self, pictures: Sequence[Picture], rotation: int = 0, known: Sequence[Fact] = ()
    ) -> dict[str, float] | None:
        """Probability of every value of the question; None if they cannot be listed or the engine does not say.

        `known` is told beside the pictures, as data.
        """
        values = self.question.values
        if not values or "choices" not in self._engine.offers:
            return None
        shown, original = self.question.rotated(rotation)
        words = self._worded(shown)
        text = briefing.noted(known, prompts.ask(shown, "direct", self._engine.manner))
        chances = await self._choose_one(pictures, text, words, "choose")
        return chances and {original[value]: chances[word] for value, word in zip(values, words, strict=True)}

    async def verify(self, pictures: Sequence[Picture], value: str) -> float:
        """P(yes) of a fresh question whether a proposed answer is right; one half if the engine cannot say."""
        text = prompts.verify(self.question, self.show(value))
        known = await self._choose_one(pictures, text, ("yes", "no"), "verify")
        if known is None:
            self.ledger.degrade("the engine gave no probability for a verdict, which counts as undecided")
        return 0.5 if known is None else known["yes"]

    async def judge(self, pictures: Sequence[Picture], text: str) -> float | None:
        """P(yes) of a question in any words about some pictures; see `decide`."""
        return await self.decide(compose(pictures, text, self.opening))

    async def decide(self, prompt: Prompt) -> float | None:
        """P(yes) at the end of a prompt: 1 or 0 if the engine only writes, None if it writes neither."""
        sampling = Sampling(max_tokens=1 if "choices" in self.offers else 8, choices=("yes", "no"))
        reply = await self.converse(prompt, sampling, "verify")
        if reply.probabilities is not None:
            return normalise({each: reply.probabilities.get(each, 0.0) for each in sampling.choices})["yes"]
        said = read_value(Question(text="?", kind="yesno"), reply.text)
        return None if said is None else float(said == "yes")

    @property
    def offers(self) -> frozenset[Offer]:
        """What the engine can do beyond text."""
        return self._engine.offers

    @property
    def small(self) -> bool:
        """Whether the model is so small that it states its choice in the options' words."""
        return self._engine.manner == "text"

    @property
    def asked(self) -> str:
        """The question and its options, in words."""
        return prompts.statement(self.question)

    @property
    def instruction(self) -> str:
        """How to answer at once."""
        return prompts.instruction(self.question.kind, "direct", self._engine.manner)

    @property
    def thinking(self) -> str:
        """How to answer after thinking."""
        return prompts.instruction(self.question.kind, "think", self._engine.manner)

    @property
    def final(self) -> str:
        """What an answer consists of, in words."""
        return prompts.final(self.question.kind, self._engine.manner)

    def read(self, reply: Reply, style: prompts.Style = "think") -> Sample:
        """A reply in any conversation, read as an answer to the question."""
        said = sample(self.question, reply, style)
        if said.value is not None:
            self._words.setdefault(said.value, said.words)
        return said

    def capped(self, sampling: Sampling) -> Sampling:
        """With a reply that leaves most of what the model reads to the prompt."""
        room = self._engine.context
        return sampling if room is None else replace(sampling, max_tokens=min(sampling.max_tokens, room // _REPLY))

    async def fits(self, prompt: Prompt, sampling: Sampling) -> bool:
        """Whether the model can read a prompt and write a reply. Raises EngineError."""
        return await fits(self._engine, prompt, sampling)

    async def say(self, pictures: Sequence[Picture], text: str, sampling: Sampling, purpose: str) -> Reply:
        """Ask something in any words about some pictures and draw one reply."""
        return await self.converse(compose(pictures, text, self.opening), sampling, purpose)

    async def converse(self, prompt: Prompt, sampling: Sampling, purpose: str) -> Reply:
        """Send a whole conversation and draw one reply. `opening` belongs before it."""
        sampling = self.capped(sampling)
        seeded = replace(
            sampling, seed=self._seed_of(purpose, sampling.temperature, texts_of(prompt), pictures_of(prompt))
        )
        return (await self._metered.send(prompt, seeded, 1, purpose=purpose)).replies[0]

    async def conclude(self, prompt: Prompt) -> Sample:
        """The answer at the end of a conversation whose last words ask for it, read as that of `choose`."""
        values, words = self.question.values, self._worded(self.question)
        listed = bool(values) and "choices" in self._engine.offers
        sampling = Sampling(max_tokens=1, choices=words) if listed else Sampling(max_tokens=self.question.length)
        reply = await self.converse(prompt, sampling, "conclude")
        if listed and reply.probabilities is not None:
            known = normalise({v: reply.probabilities.get(w, 0.0) for v, w in zip(values, words, strict=True)})
            return chosen(known, self.question)
        return self.read(reply)

    async def fill(
        self, slots: type[S], text: str, pictures: Sequence[Picture] = (), *, purpose: str, max_tokens: int = 512
    ) -> S | None:
        """Ask for slots to be filled, a second time with some heat; None if the model does not fill them."""
        schema = slots.wire() if "schema" in self._engine.offers else None
        prompt = compose(pictures, text if schema else f"{text}\n{slots.shape()}", self.opening)
        for heat in (0.0, _REPAIR_HEAT):
            reply = await self.converse(
                prompt, Sampling(temperature=heat, max_tokens=max_tokens, schema=schema), purpose
            )
            if reply.finish != "length" and (filled := fill(slots, reply.text)) is not None:
                return filled
        self.trace.add(Noted(text=f"the model did not fill the slots of: {purpose}"))
        return None

    def affords(self, prompt: Prompt, sampling: Sampling, times: int = 1) -> bool:
        """Whether the budget has room for so many calls like this one."""
        return self._metered.affords(prompt, sampling, times)

    def show(self, value: str) -> str:
        """The words a person reads for a value."""
        written = self.question.kind in ("text", "open")
        return self._words.get(value, value) if written else self.question.show(value)

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
        known: Settled | None = None,
    ) -> Generation:
        seeded = replace(sampling, seed=self._seed_of(purpose, sampling.temperature, (text,), pictures))
        shrink = self.ledger.calls == 0  # a first answer, however small, is worth more than none
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
        return question.options if self._engine.manner == "text" and question.options else question.values
