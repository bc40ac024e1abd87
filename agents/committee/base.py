"""A stage of a committee: its fields are its parameters, it does one thing and leaves the rest on the table."""

from __future__ import annotations

from dataclasses import dataclass, field

from pydantic import BaseModel, ConfigDict

from agents.core.run import Run
from agents.evidence.base import Findings
from agents.parsing.answers import Sample
from tools.video.sampling import Span


@dataclass(frozen=True, slots=True)
class Opinion:
    """What one member says: the answer as it was read, the words for it, and how sure it says it is, if it does."""

    by: str
    said: Sample
    reasons: str = ""
    confidence: float = 0.0


@dataclass
class CommitteeState:
    """What the members of a committee share. `spans`: seconds that may matter, best first. `settled` ends it.

    `marks`: how good the answer is, in words.
    """

    run: Run
    findings: Findings = field(default_factory=Findings)
    spans: list[Span] = field(default_factory=list)
    opinions: list[Opinion] = field(default_factory=list)
    answer: Sample | None = None
    marks: str = ""
    settled: bool = False


class CommitteeStage(BaseModel):
    """One stage."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    do: str

    async def run(self, table: CommitteeState) -> None:
        """Do it. Raises BudgetExceeded, EngineError, BadVideo."""
        raise NotImplementedError
