"""Gather evidence until it is enough."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import Field

from agents.candidate import Found
from agents.challenger import Challenger
from agents.engine import Picture
from agents.findings import Findings
from agents.gathering import AnyGatherer, Observe
from agents.gathering.attempt import Attempt, Gate, attempt, force
from agents.run import Run


class Investigate(Challenger):
    """Gather evidence in words, try to answer from it, and gather more while that is not sure enough.

    The flow is fixed; the model fills slots: where to look next, what was seen, whether it is enough. So it works with
    models that do not call tools by themselves. Active Video Perception, arXiv:2512.05774; VideoAgent,
    arXiv:2403.10517; VideoLucy, arXiv:2510.12422. The direct answer stays a candidate, as in `planner`.
    """

    name: Literal["investigate"] = "investigate"
    gather: AnyGatherer = Field(Observe(), description="How evidence is gathered: observe, pick or recaption.")
    gate: Gate = Field("probability", description="Token probability, the model's reflection, or a separate grade.")
    threshold: float = Field(0.7, ge=0, le=1, description="Probability, or confidence of a reflection, that is enough.")
    rounds: int = Field(3, ge=1, le=32, description="Most rounds of gathering.")
    last: Literal["forced", "judged"] = Field("forced", description="Whether the last attempt is judged as well.")

    async def challenge(self, run: Run, first: Sequence[Picture]) -> Found:  # noqa: ARG002 - it looks for itself
        findings = Findings()
        session = self.gather.session(run, findings)
        await session.begin()
        tried = await attempt(run, findings, self.gate, self.threshold)
        for turn in range(self.rounds):
            if tried.enough:
                break
            with run.round(f"round {turn + 1}"):
                await session.more(tried.missing)
                if turn == self.rounds - 1 and self.last == "forced":
                    break
                tried = await attempt(run, findings, self.gate, self.threshold)
        if not tried.enough:
            tried = Attempt(await force(run, findings))
        return Found(tried.answer, findings, "confident" if tried.enough else "complete")
