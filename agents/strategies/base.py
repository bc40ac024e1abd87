"""What a strategy is: its fields are its parameters, `answer` runs it. Agentic ones try to beat a direct answer."""

from __future__ import annotations

import re
from collections.abc import Sequence
from inspect import cleandoc
from typing import ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

from agents.core.question import Answer
from agents.core.run import Run
from agents.engines.base import Capability, Picture
from agents.strategies.verification import Challenge, answer_directly, is_confident, look_first, verify_challenge

Extra = Literal["ocr", "detect"]
"""Tools for which something must be installed."""
_PAPER = re.compile(r"arXiv:\s?(\d{4}\.\d{4,5})")


class Strategy(BaseModel):
    """A published way of spending inference compute. Parameters are fields with default, bounds, description.

    `needs` is what the engine must offer. `whole`: the model sees one look of `frames` and no more, so that where
    nobody says how many, the model's own best number is taken. A strategy holds no state and never imports another.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    required: ClassVar[frozenset[Capability]] = frozenset()
    whole: ClassVar[bool] = False
    name: str

    async def answer(self, run: Run) -> Answer:
        """Answer the run's question, proposing the best answer so far on the way."""
        raise NotImplementedError

    def required_capabilities(self) -> frozenset[Capability]:
        """What the engine must offer for this strategy with these parameters."""
        return self.required

    def extras(self) -> frozenset[Extra]:
        """The tools it was told to use for which something must be installed."""
        return frozenset()

    @classmethod
    def documentation(cls) -> str:
        """The documentation: what it does, when to use it, whose idea it is."""
        return cleandoc(cls.__doc__ or "")

    @classmethod
    def papers(cls) -> tuple[str, ...]:
        """arXiv numbers that the documentation cites."""
        return tuple(_PAPER.findall(cls.documentation()))


class AgenticStrategy(Strategy):
    """A program that looks for a better answer than the direct one, which comes back if none is proved."""

    frames: int = Field(8, ge=1, le=1024, description="Most frames of the first look, which the direct answer sees.")
    enough: float = Field(1.0, gt=0, le=1, description="Probability of a direct answer that ends it; 1: never.")
    support: float = Field(0.5, ge=0, le=1, description="P(yes) that another answer than the direct one must have.")
    proof: int = Field(8, ge=1, le=256, description="Most frames of the evidence that are looked at for that.")

    async def answer(self, run: Run) -> Answer:
        first = await self.look(run)
        direct = await answer_directly(run, first)
        if is_confident(direct, self.enough):
            return run.propose(direct.value, direct.confidence, shares=direct.probabilities, stopped="confident")
        found = await self.challenge(run, first)
        return await verify_challenge(run, direct, found, support=self.support, frames=self.proof)

    async def look(self, run: Run) -> tuple[Picture, ...]:
        """The first look, on which the direct answer rests."""
        return await look_first(run, self.frames)

    async def challenge(self, run: Run, first: Sequence[Picture]) -> Challenge:
        """Look for another answer, and for what it rests on."""
        raise NotImplementedError
