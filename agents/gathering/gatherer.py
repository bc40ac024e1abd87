"""A way to gather evidence: its fields are its parameters, a session does it for one run."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from agents.findings import Findings
from agents.run import Run


class Session:
    """One run's gathering. What is found is added to `findings`, whatever of it is found."""

    def __init__(self, run: Run, findings: Findings) -> None:
        self.run = run
        self.findings = findings

    async def begin(self) -> None:
        """Gather what is there before the first attempt to answer; nothing, where one begins by planning."""

    async def more(self, missing: str) -> None:
        """Gather more, knowing in words what is missing. Raises BudgetExceeded, EngineError."""
        raise NotImplementedError


class Gatherer(BaseModel):
    """Parameters of one way to gather."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    by: str

    def session(self, run: Run, findings: Findings) -> Session:
        """Gathering for one run."""
        raise NotImplementedError
