"""Base class of a committee's stages, and the state that they share."""

from __future__ import annotations

from dataclasses import dataclass, field

from pydantic import BaseModel, ConfigDict

from agents.core.run import Run
from agents.evidence.base import Findings
from agents.parsing.answers import Sample
from tools.video.sampling import Span


@dataclass(frozen=True, slots=True)
class Opinion:
    """The opinion of a member: its parsed answer, its reasons, and its stated confidence from 0 to 1, 0 if none."""

    by: str
    said: Sample
    reasons: str = ""
    confidence: float = 0.0


@dataclass
class CommitteeState:
    """State that the stages of a committee share.

    `spans`: spans in seconds that may matter, best first. `marks`: an evaluation of the answer, in words. `settled`:
    the members agree, so that no further stage runs.
    """

    run: Run
    findings: Findings = field(default_factory=Findings)
    spans: list[Span] = field(default_factory=list)
    opinions: list[Opinion] = field(default_factory=list)
    answer: Sample | None = None
    marks: str = ""
    settled: bool = False


class CommitteeStage(BaseModel):
    """A stage: its fields are its parameters, `run` carries it out."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    do: str

    async def run(self, state: CommitteeState) -> None:
        """Carry out the stage and record its results in the state. Raises BudgetExceeded, EngineError, BadVideo."""
        raise NotImplementedError
