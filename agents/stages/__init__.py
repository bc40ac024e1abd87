"""The stages of which committees are made."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from agents.stages.ground import AnswerSpan, Ground, Rank
from agents.stages.panel import Organise, Panel
from agents.stages.review import Consult, Critic, Draft, Evaluate, Revise
from agents.stages.stage import Table
from agents.stages.testimony import Compare, Conclude, Testify

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

__all__ = ["AnyStage", "Organise", "Panel", "Table"]
