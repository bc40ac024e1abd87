"""Gather evidence until it is enough."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from agents.answer import Answer, Stop
from agents.candidate import answer_directly, look_first, settle, sure
from agents.findings import Findings
from agents.gathering import AnyGatherer, Observe
from agents.gathering.attempt import Attempt, Gate, attempt, force
from agents.run import Run
from agents.strategy import Strategy


class Investigate(Strategy):
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
    frames: int = Field(8, ge=1, le=1024, description="Frames of the direct answer.")
    enough: float = Field(1.0, gt=0, le=1, description="Probability of a direct answer that ends it; 1: always gather.")
    support: float = Field(0.5, ge=0, le=1, description="P(yes) that another answer than the direct one must have.")
    proof: int = Field(8, ge=1, le=256, description="Most frames of the evidence that are looked at for that.")

    async def answer(self, run: Run) -> Answer:
        direct = await answer_directly(run, await look_first(run, self.frames))
        if sure(direct, self.enough):
            return run.propose(direct.value, direct.confidence, shares=direct.probabilities, stopped="confident")
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
        stopped: Stop = "confident" if tried.enough else "complete"
        return await settle(
            run, direct, tried.answer, findings, support=self.support, frames=self.proof, stopped=stopped
        )
