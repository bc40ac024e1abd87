"""What programs that search, gather or sit have in common: the direct answer is the one to beat."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import Field

from agents.answer import Answer
from agents.candidate import Found, answer_directly, look_first, settle, sure
from agents.engine import Picture
from agents.run import Run
from agents.strategy import Strategy


class Challenger(Strategy):
    """A program that looks for a better answer than the direct one, which comes back if none is proved."""

    frames: int = Field(8, ge=1, le=1024, description="Most frames of the first look, which the direct answer sees.")
    enough: float = Field(1.0, gt=0, le=1, description="Probability of a direct answer that ends it; 1: never.")
    support: float = Field(0.5, ge=0, le=1, description="P(yes) that another answer than the direct one must have.")
    proof: int = Field(8, ge=1, le=256, description="Most frames of the evidence that are looked at for that.")

    async def answer(self, run: Run) -> Answer:
        first = await self.look(run)
        direct = await answer_directly(run, first)
        if sure(direct, self.enough):
            return run.propose(direct.value, direct.confidence, shares=direct.probabilities, stopped="confident")
        found = await self.challenge(run, first)
        return await settle(run, direct, found, support=self.support, frames=self.proof)

    async def look(self, run: Run) -> tuple[Picture, ...]:
        """The first look, on which the direct answer rests."""
        return await look_first(run, self.frames)

    async def challenge(self, run: Run, first: Sequence[Picture]) -> Found:
        """Look for another answer, and for what it rests on."""
        raise NotImplementedError
