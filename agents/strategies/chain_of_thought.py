"""Reason step by step, then answer."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from agents.core.question import Answer
from agents.core.run import Run
from agents.engines.base import Sampling
from agents.strategies.base import Strategy
from tools.video.sampling import uniform


class ChainOfThought(Strategy):
    """Say step by step what is seen and when, then answer; the answer's token probability is the confidence.

    Helps with counting, temporal order, multi-hop questions and knowledge; hurts simple perception. Long chains drift,
    so their length is capped. Wei et al., arXiv:2201.11903; for video, When Thinking Drifts, arXiv:2510.06077.
    """

    whole: ClassVar[bool] = True
    name: Literal["chain_of_thought"] = "chain_of_thought"
    frames: int = Field(32, ge=1, le=1024, description="Frames, evenly spread; left out, the model's own best number.")
    max_tokens: int = Field(256, ge=16, le=8192, description="Longest chain, in tokens.")
    temperature: float = Field(0.0, ge=0, le=2, description="Sampling temperature; 0 is greedy.")

    async def answer(self, run: Run) -> Answer:
        pictures = await run.look(uniform(run.span, self.frames))
        sampling = Sampling(temperature=self.temperature, max_tokens=self.max_tokens)
        thought = (await run.ask(pictures, sampling, style="think", final=True))[0]
        return run.propose(thought.value, thought.confidence)
