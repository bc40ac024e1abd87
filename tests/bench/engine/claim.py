"""What was measured, what it should be, and whether it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Claim:
    """One number with its goal. `bound` says whether more or less than the goal is good; without a goal it is told."""

    what: str
    value: float
    unit: str = ""
    goal: float | None = None
    bound: Literal["least", "most"] = "least"

    @property
    def met(self) -> bool | None:
        """Whether the goal is reached; None without one."""
        if self.goal is None:
            return None
        return self.value >= self.goal if self.bound == "least" else self.value <= self.goal


def table(claims: Sequence[Claim]) -> str:
    """The claims as Markdown."""
    rows = [f"| {each.what} | {_number(each.value)}{each.unit} | {_goal(each)} | {_verdict(each)} |" for each in claims]
    return "\n".join(["| measured | value | goal | met |", "|---|---|---|---|", *rows])


def _goal(claim: Claim) -> str:
    if claim.goal is None:
        return ""
    return f"{'≥' if claim.bound == 'least' else '≤'} {claim.goal:g}{claim.unit}"


def _verdict(claim: Claim) -> str:
    return {None: "", True: "yes", False: "**no**"}[claim.met]


def _number(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"
