"""Draw several answers and let the model judge them."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from agents.core.question import Answer
from agents.core.run import Run
from agents.engines.base import Capability, Sampling
from agents.parsing.confidence import count_votes, normalise
from agents.strategies.base import Strategy
from tools.video.sampling import uniform


class BestOfN(Strategy):
    """Draw several answers, ask afresh about each different one whether it is right, return the likeliest.

    The same model judges: P(yes) for a question that shows neither the options nor the reasoning, because models
    state their confidence poorly in words (VideoICL, arXiv:2412.02186). Best-of-N: Cobbe et al., arXiv:2110.14168.
    """

    required: ClassVar[frozenset[Capability]] = frozenset({"choices"})
    whole: ClassVar[bool] = True
    name: Literal["best_of_n"] = "best_of_n"
    samples: int = Field(8, ge=1, le=64, description="Answers to draw.")
    frames: int = Field(32, ge=1, le=1024, description="Frames, evenly spread; left out, the model's own best number.")
    think: bool = Field(True, description="Reason before each answer.")
    temperature: float = Field(1.0, ge=0, le=2, description="Sampling temperature; higher gives more varied answers.")
    max_tokens: int = Field(256, ge=16, le=8192, description="Longest chain, in tokens.")

    async def answer(self, run: Run) -> Answer:
        pictures = await run.look(uniform(run.span, self.frames))
        sampling = Sampling(temperature=self.temperature, max_tokens=self.max_tokens)
        drawn = await run.ask(pictures, sampling, self.samples, "think" if self.think else "direct")
        tally = count_votes((each.value, 1.0) for each in drawn)
        run.propose(tally.leader, tally.shares.get(tally.leader or ""), shares=tally.shares)
        if tally.leader is None:
            return run.propose(None)
        values = list(tally.shares)
        beliefs = await run.gather(run.verify(pictures, value) for value in values)
        judged = dict(zip(values, beliefs, strict=True))
        best = max(values, key=lambda value: judged[value])
        return run.propose(best, normalise(judged)[best], shares=tally.shares, confidences=judged)
