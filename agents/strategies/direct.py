"""Answer directly, without reasoning."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from agents.core.question import Answer
from agents.core.run import Run
from agents.parsing.answers import sample_from_probabilities
from agents.parsing.confidence import mean_distribution
from agents.strategies.base import Strategy
from tools.video.sampling import uniform


class Direct(Strategy):
    """Look once, evenly, and answer without thinking; the option's probability is the confidence.

    The cheapest strategy and often the best: reasoning costs Qwen2.5-VL-7B 4.5 points on Video-MME
    (When Thinking Drifts, arXiv:2510.06077). Averaging over rotated options cancels a model's bias for a letter.
    """

    whole: ClassVar[bool] = True
    name: Literal["direct"] = "direct"
    frames: int = Field(32, ge=1, le=1024, description="Frames, evenly spread; left out, the model's own best number.")
    rotations: int = Field(
        1, ge=1, le=26, description="Orders of the options to average over; at most one for each option."
    )

    async def answer(self, run: Run) -> Answer:
        pictures = await run.look(uniform(run.span, self.frames))
        orders = range(min(self.rotations, max(len(run.question.options), 1)))
        first = await run.choose(pictures, final=True)
        if len(orders) > 1:
            run.propose(first.value, first.confidence)
        others = await run.gather(run.choice_probabilities(pictures, rotation=order) for order in orders[1:])
        known = [each for each in (first.probabilities, *others) if each is not None]
        if not known:
            return run.propose(first.value, first.confidence)
        best = sample_from_probabilities(mean_distribution(known), run.question)
        return run.propose(best.value, best.confidence, shares=best.probabilities, confidences=best.probabilities)
