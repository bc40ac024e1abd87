"""Several members answer, check and correct in fixed stages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Field

from agents.committee.base import CommitteeState
from agents.committee.grounding import AnswerSpan, Ground, Rank
from agents.committee.panel import Organise, Panel
from agents.committee.review import Consult, Critic, Draft, Evaluate, Revise
from agents.committee.witnesses import Compare, Conclude, Testify
from agents.core.run import Run
from agents.engines.base import Picture
from agents.strategies.base import AgenticStrategy
from agents.strategies.verification import Challenge

AnyStage = Annotated[
    Ground
    | Rank
    | AnswerSpan
    | Panel
    | Organise
    | Consult
    | Draft
    | Critic
    | Evaluate
    | Revise
    | Testify
    | Compare
    | Conclude,
    Field(discriminator="do"),
]


class Committee(AgenticStrategy):
    """Go through stages in a fixed order, once: members who know different things answer, check and correct.

    By default three members answer independently, from captions, from frames and from a scene graph, and an organiser
    decides if they differ (VideoMultiAgents, arXiv:2504.20091). Other stages find and check spans (VideoMind,
    arXiv:2503.13444), criticise and revise (ReAgent-V, arXiv:2506.01300), or compare an answer with scenes and
    detections (ViQAgent, arXiv:2505.15928). The direct answer stays a candidate, as in `planner`.
    """

    name: Literal["committee"] = "committee"
    stages: tuple[AnyStage, ...] = Field(
        (Panel(), Organise()), min_length=1, max_length=12, description="The stages, in the order in which they run."
    )

    async def challenge(self, run: Run, first: Sequence[Picture]) -> Challenge:  # noqa: ARG002 - its members look for themselves
        state = CommitteeState(run)
        for stage in self.stages:
            with run.round(stage.do):
                await stage.run(state)
            if state.settled:
                break
        return Challenge(state.answer, state.findings, "agreed" if state.settled else "complete")
