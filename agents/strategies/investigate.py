"""Gather evidence until it is enough."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Field

from agents.core.run import Run
from agents.engines.base import Picture
from agents.evidence.attempt import Attempt, SufficiencyTest, attempt_answer, force_answer
from agents.evidence.base import Findings
from agents.evidence.observe import Observe
from agents.evidence.pick import Pick
from agents.evidence.recaption import Recaption
from agents.strategies.base import AgenticStrategy
from agents.strategies.verification import Challenge

AnyGatherer = Annotated[Observe | Pick | Recaption, Field(discriminator="by")]


class Investigate(AgenticStrategy):
    """Gather evidence in words, try to answer from it, and gather more while that is not sure enough.

    The flow is fixed; the model fills in structured replies: where to look next, what was seen, whether it is enough.
    So it works with models that cannot call tools. Active Video Perception, arXiv:2512.05774; VideoAgent,
    arXiv:2403.10517; VideoLucy, arXiv:2510.12422. The direct answer stays a candidate, as in `planner`.
    """

    name: Literal["investigate"] = "investigate"
    gather: AnyGatherer = Field(Observe(), description="How evidence is gathered: observe, pick or recaption.")
    gate: SufficiencyTest = Field(
        "probability",
        description="What decides that the evidence is enough: token probability, a reflection or a grade.",
    )
    threshold: float = Field(0.7, ge=0, le=1, description="Probability, or confidence of a reflection, that is enough.")
    rounds: int = Field(3, ge=1, le=32, description="Most rounds of gathering.")
    last: Literal["forced", "judged"] = Field(
        "forced", description="Whether the last attempt is judged too or taken as it is."
    )

    async def challenge(self, run: Run, first: Sequence[Picture]) -> Challenge:  # noqa: ARG002 - the gatherer looks for itself
        findings = Findings()
        session = self.gather.session(run, findings)
        await session.begin()
        tried = await attempt_answer(run, findings, self.gate, self.threshold)
        for turn in range(self.rounds):
            if tried.enough:
                break
            with run.round(f"round {turn + 1}"):
                await session.more(tried.missing)
                if turn == self.rounds - 1 and self.last == "forced":
                    break
                tried = await attempt_answer(run, findings, self.gate, self.threshold)
        if not tried.enough:
            tried = Attempt(await force_answer(run, findings))
        return Challenge(tried.answer, findings, "confident" if tried.enough else "complete")
