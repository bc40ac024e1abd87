"""Cheap strategies first, expensive ones only when in doubt."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from agents.core.question import Answer
from agents.core.run import Run
from agents.engines.base import Capability
from agents.strategies.base import Extra, Strategy

if TYPE_CHECKING:
    AnyStrategy = Strategy  # at run time the registry supplies the union of all strategies

# Plain data, as in a request, so that no strategy imports another.
_LADDER: Any = (
    {"name": "direct", "frames": 8},
    {"name": "direct", "frames": 32},
    {"name": "self_consistency"},
)


class Escalate(Strategy):
    """Try strategies from cheap to expensive and stop at the first that is sure enough.

    A direct answer with a high token probability is not improved by reasoning (VideoAuto-R1, arXiv:2601.05175, stops
    at 0.97). If no strategy is sure enough, the last one that gave a readable answer decides, or the most confident.
    """

    name: Literal["escalate"] = "escalate"
    strategies: tuple[AnyStrategy, ...] = Field(
        _LADDER,
        min_length=1,
        max_length=8,
        validate_default=True,
        description="The strategies to try, from cheap to expensive.",
    )
    confidence: float = Field(0.97, gt=0, le=1, description="Confidence at which to stop.")
    pick: Literal["last", "surest"] = Field(
        "last", description="Whose answer is returned if no strategy reaches `confidence`."
    )

    def required_capabilities(self) -> frozenset[Capability]:
        return frozenset[Capability]().union(*(each.required_capabilities() for each in self.strategies))

    def extras(self) -> frozenset[Extra]:
        return frozenset[Extra]().union(*(each.extras() for each in self.strategies))

    async def answer(self, run: Run) -> Answer:
        answers: list[Answer] = []
        for stage in self.strategies:
            with run.round(stage.name):
                answers.append(await stage.answer(run))
            run.best_answer = decided = self._decide(answers)
            if decided.confidence is not None and decided.confidence >= self.confidence:
                return decided.model_copy(update={"stopped": "confident"})
        return decided

    def _decide(self, answers: list[Answer]) -> Answer:
        readable = [answer for answer in answers if answer.value is not None] or answers
        if self.pick == "last":
            return readable[-1]
        return max(readable, key=lambda answer: -1.0 if answer.confidence is None else answer.confidence)
