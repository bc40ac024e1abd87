"""Draw several answers and let them vote."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

from pydantic import Field

from agents.core.question import Answer, StopReason
from agents.core.run import Run
from agents.engines.base import Sampling
from agents.parsing.answers import Sample
from agents.parsing.confidence import VoteTally, count_votes, leader_probability, uncatchable
from agents.prompts.questions import AnswerStyle
from agents.strategies.base import Strategy
from tools.video.sampling import jittered, uniform


class SelfConsistency(Strategy):
    """Draw several answers and return the one that most of them reach; its share of the vote is the confidence.

    Samples differ by temperature, by their frames (a random moment from each of equal bins), or both. On the same
    frames, samples share the same blind spots; other frames bring other evidence (From Trial to Triumph,
    arXiv:2503.20472). Draws in batches and stops once the leader cannot be caught, or once the Beta posterior says so
    (Adaptive-Consistency, arXiv:2305.11860). Wang et al., arXiv:2203.11171.
    """

    whole: ClassVar[bool] = True
    name: Literal["self_consistency"] = "self_consistency"
    samples: int = Field(8, ge=1, le=64, description="Most answers to draw.")
    frames: int = Field(32, ge=1, le=1024, description="Frames for each answer; left out, the model's own best number.")
    think: bool = Field(True, description="Reason before each answer.")
    diversity: Literal["temperature", "frames", "both"] = Field("both", description="How the samples differ.")
    temperature: float = Field(0.7, ge=0, le=2, description="Sampling temperature; unused if only the frames differ.")
    weight: Literal["count", "margin", "logprob"] = Field("count", description="Weight of a vote.")
    stop: Literal["fixed", "decided", "beta"] = Field("decided", description="When to stop drawing early.")
    level: float = Field(0.95, gt=0.5, lt=1, description="Posterior probability of the leader at which `beta` stops.")
    batch: int = Field(5, ge=1, le=64, description="Answers drawn before the vote is counted again.")
    max_tokens: int = Field(256, ge=16, le=8192, description="Longest chain, in tokens.")

    async def answer(self, run: Run) -> Answer:
        samples: list[Sample] = []
        while (left := self.samples - len(samples)) > 0:
            size = left if self.stop == "fixed" else min(self.batch, left)
            with run.round(f"samples {len(samples) + 1}-{len(samples) + size}"):
                drawn = await self._draw(run, size)
            samples += drawn
            tally = count_votes((each.value, self._weight(each)) for each in samples)
            stopped = "budget" if len(drawn) < size else self._stopped(samples, tally)
            share = tally.shares.get(tally.leader or "")
            answer = run.propose(tally.leader, share, shares=tally.shares, stopped=stopped)
            if stopped != "complete":
                break
        return answer

    async def _draw(self, run: Run, size: int) -> Sequence[Sample]:
        style: AnswerStyle = "think" if self.think else "direct"
        heat = 0.0 if self.diversity == "frames" else self.temperature
        sampling = Sampling(temperature=heat, max_tokens=self.max_tokens)
        if self.diversity == "temperature":
            return await run.ask(await run.look(uniform(run.span, self.frames)), sampling, size, style)
        looks = [await run.look(jittered(run.span, self.frames, run.random)) for _ in range(size)]
        if not self.think and self.diversity == "frames":
            return await run.gather_affordable(run.choose(pictures) for pictures in looks)
        return [
            each for one in await run.gather_affordable(run.ask(p, sampling, 1, style) for p in looks) for each in one
        ]

    def _weight(self, each: Sample) -> float:
        known = {"count": 1.0, "margin": each.margin, "logprob": each.certainty}[self.weight]
        return 1.0 if known is None else max(known, 1e-9)

    def _stopped(self, samples: Sequence[Sample], tally: VoteTally) -> StopReason:
        left = self.samples - len(samples)
        votes = count_votes((each.value, 1.0) for each in samples)
        if self.stop == "beta" and leader_probability(int(votes.first), int(votes.second)) >= self.level:
            return "decided"
        if self.stop == "decided" and left and uncatchable(tally.first, tally.second, left):
            return "decided"
        return "complete"
