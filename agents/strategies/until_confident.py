"""Look again until the answer is confident enough."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

from pydantic import Field

from agents.core.question import Answer
from agents.core.run import Run
from agents.engines.base import Capability
from agents.parsing.answers import Sample, sample_from_probabilities
from agents.parsing.confidence import mean_distribution
from agents.strategies.base import Strategy
from tools.video.sampling import SampleWindow, grid, jittered, uniform


class UntilConfident(Strategy):
    """Answer directly; while the answer's token probability is below a threshold, look denser or elsewhere.

    VideoICL's loop (arXiv:2412.02186) with frames instead of solved examples as what each round adds: at most
    `rounds` rounds, token probability as the confidence, and the most confident round wins, as there. `pick="pooled"`
    averages the rounds' option probabilities instead (T3S, arXiv:2511.17945, averages logits over frame subsets).
    """

    required: ClassVar[frozenset[Capability]] = frozenset({"logprobs"})
    name: Literal["until_confident"] = "until_confident"
    frames: int = Field(8, ge=1, le=1024, description="Frames in the first round.")
    threshold: float = Field(0.9, gt=0, lt=1, description="Probability of the answer at which to stop.")
    rounds: int = Field(4, ge=1, le=16, description="Most rounds.")
    where: Literal["denser", "elsewhere"] = Field(
        "denser", description="Double the frames each round, or take as many different ones."
    )
    limit: int = Field(64, ge=1, le=1024, description="Most frames in one round.")
    pick: Literal["best", "pooled"] = Field("best", description="Most confident round, or all rounds averaged.")

    async def answer(self, run: Run) -> Answer:
        seen: list[Sample] = []
        for turn in range(self.rounds):
            if (moments := self._moments(run, turn)) is None:
                break
            with run.round(f"round {turn + 1}"):
                seen.append(await run.choose(await run.look(moments)))
            best = self._best(seen, run)
            sure = best.confidence is not None and best.confidence >= self.threshold
            answer = run.propose(
                best.value,
                best.confidence,
                shares=best.probabilities,
                confidences=best.probabilities,
                stopped="confident" if sure else "complete",
            )
            if sure:
                break
        return answer

    def _moments(self, run: Run, turn: int) -> Sequence[SampleWindow] | None:
        if self.where == "denser":
            frames = self.frames * 2**turn
            return grid(run.span, frames) if frames <= self.limit or turn == 0 else None
        return uniform(run.span, self.frames) if turn == 0 else jittered(run.span, self.frames, run.random)

    def _best(self, seen: Sequence[Sample], run: Run) -> Sample:
        known = [each.probabilities for each in seen if each.probabilities is not None]
        if self.pick == "pooled" and len(known) == len(seen):
            return sample_from_probabilities(mean_distribution(known), run.question)
        return max(seen, key=lambda each: -1.0 if each.confidence is None else each.confidence)
