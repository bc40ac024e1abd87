"""Base classes of strategies: `Strategy`, and `AgenticStrategy`, which tries to improve on a direct answer."""

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
"""Tools that need an optional dependency."""
_PAPER = re.compile(r"arXiv:\s?(\d{4}\.\d{4,5})")


class Strategy(BaseModel):
    """A published way of spending inference compute. Its fields are its parameters; `answer` runs it.

    `required` lists the engine capabilities that every configuration needs. `whole` marks a strategy whose
    calls each show `frames` frames and no more: if a request leaves `frames` out, the number recommended for the model
    is used. A strategy is stateless and never imports another one.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    required: ClassVar[frozenset[Capability]] = frozenset()
    whole: ClassVar[bool] = False
    name: str

    async def answer(self, run: Run) -> Answer:
        """Answer the run's question, calling `run.propose` whenever there is a better answer.

        Raises BadVideo; also BudgetExceeded, PromptTooLong and EngineError, after which the runner returns the last
        answer proposed.
        """
        raise NotImplementedError

    def required_capabilities(self) -> frozenset[Capability]:
        """Engine capabilities that this strategy needs with these parameters."""
        return self.required

    def extras(self) -> frozenset[Extra]:
        """Tools among its parameters that need an optional dependency."""
        return frozenset()

    @classmethod
    def documentation(cls) -> str:
        """The class docstring: what the strategy does, when to use it, and the papers behind it."""
        return cleandoc(cls.__doc__ or "")

    @classmethod
    def papers(cls) -> tuple[str, ...]:
        """arXiv identifiers cited in the documentation, such as "2203.11171"."""
        return tuple(_PAPER.findall(cls.documentation()))


class AgenticStrategy(Strategy):
    """A strategy that searches for a better answer than the direct one, and keeps that if none is verified."""

    frames: int = Field(8, ge=1, le=1024, description="Most frames shown for the direct answer.")
    enough: float = Field(
        1.0, gt=0, le=1, description="Probability at which the direct answer is returned without a search; 1: never."
    )
    support: float = Field(0.5, ge=0, le=1, description="Least P(yes) for another answer to replace the direct one.")
    proof: int = Field(8, ge=1, le=256, description="Most frames of the evidence shown when P(yes) is measured.")

    async def answer(self, run: Run) -> Answer:
        first = await self.look(run)
        direct = await answer_directly(run, first)
        if is_confident(direct, self.enough):
            return run.propose(direct.value, direct.confidence, shares=direct.probabilities, stopped="confident")
        found = await self.challenge(run, first)
        return await verify_challenge(run, direct, found, support=self.support, frames=self.proof)

    async def look(self, run: Run) -> tuple[Picture, ...]:
        """The frames for the direct answer."""
        return await look_first(run, self.frames)

    async def challenge(self, run: Run, first: Sequence[Picture]) -> Challenge:
        """Search for an answer and the evidence for it. `first`: the frames of the direct answer."""
        raise NotImplementedError
