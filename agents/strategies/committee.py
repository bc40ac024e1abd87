"""Several members, stage by stage, once."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from agents.answer import Answer, Stop
from agents.candidate import answer_directly, look_first, settle, sure
from agents.run import Run
from agents.stages import AnyStage, Organise, Panel, Table
from agents.strategy import Strategy


class Committee(Strategy):
    """Go through stages in a fixed order, once: members who know different things answer, check and correct.

    By default a reader, a viewer and one who reads who did what answer alone, and someone decides if they differ
    (VideoMultiAgents, arXiv:2504.20091). Other stages find and check spans (VideoMind, arXiv:2503.13444), criticise
    and revise (ReAgent-V, arXiv:2506.01300), or compare testimonies (ViQAgent, arXiv:2505.15928). The direct answer
    stays a candidate, as in `planner`.
    """

    name: Literal["committee"] = "committee"
    stages: tuple[AnyStage, ...] = Field(
        (Panel(), Organise()), min_length=1, max_length=12, description="What is done, in this order."
    )
    frames: int = Field(8, ge=1, le=1024, description="Frames of the direct answer.")
    enough: float = Field(1.0, gt=0, le=1, description="Probability of a direct answer that ends it; 1: always sit.")
    support: float = Field(0.5, ge=0, le=1, description="P(yes) that another answer than the direct one must have.")
    proof: int = Field(8, ge=1, le=256, description="Most frames of the evidence that are looked at for that.")

    async def answer(self, run: Run) -> Answer:
        direct = await answer_directly(run, await look_first(run, self.frames))
        if sure(direct, self.enough):
            return run.propose(direct.value, direct.confidence, shares=direct.probabilities, stopped="confident")
        table = Table(run)
        for stage in self.stages:
            with run.round(stage.do):
                await stage.sit(table)
            if table.settled:
                break
        stopped: Stop = "agreed" if table.settled else "complete"
        return await settle(
            run, direct, table.answer, table.findings, support=self.support, frames=self.proof, stopped=stopped
        )
