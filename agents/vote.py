"""A weighted vote over the values that samples reached."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from agents.confidence import normalise


@dataclass(frozen=True, slots=True)
class Tally:
    """The outcome of a vote: (value, weight), heaviest first. Ties go to the value that was seen first."""

    standing: tuple[tuple[str, float], ...]

    @property
    def leader(self) -> str | None:
        """The winning value; None if nobody voted."""
        return self.standing[0][0] if self.standing else None

    @property
    def first(self) -> float:
        """Weight of the leader."""
        return self.standing[0][1] if self.standing else 0.0

    @property
    def second(self) -> float:
        """Weight of the runner-up."""
        return self.standing[1][1] if len(self.standing) > 1 else 0.0

    @property
    def shares(self) -> dict[str, float]:
        """Each value's share of the vote, in [0, 1]."""
        return normalise(dict(self.standing)) if self.standing else {}


def count(votes: Iterable[tuple[str | None, float]]) -> Tally:
    """Add up votes of (value, weight). A sample that could not be read (None) never votes."""
    weights: dict[str, float] = {}
    for value, weight in votes:
        if value is not None:
            weights[value] = weights.get(value, 0.0) + weight
    return Tally(tuple(sorted(weights.items(), key=lambda item: -item[1])))
