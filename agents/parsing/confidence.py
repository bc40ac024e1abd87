"""Confidence in [0, 1] from token probabilities and from weighted votes: pure functions, natural logarithms."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import comb, exp

from agents.engines.base import Token


def mean_probability(tokens: Sequence[Token]) -> float | None:
    """e to the mean log-probability of a reply (VideoAuto-R1's measure); None without tokens."""
    if not tokens:
        return None
    return exp(sum(token.logprob for token in tokens) / len(tokens))


def least_probability(tokens: Iterable[Token]) -> float | None:
    """Probability of the least certain token (VideoICL, arXiv 2412.02186); None without tokens."""
    return min((exp(token.logprob) for token in tokens), default=None)


def margin(probabilities: Iterable[float]) -> float:
    """The gap between the two most probable options, in [0, 1]."""
    first, second, *_ = [*sorted(probabilities, reverse=True), 0.0, 0.0]
    return first - second


def normalise(weights: Mapping[str, float]) -> dict[str, float]:
    """Weights scaled to sum to 1; all equal if all are 0."""
    total = sum(weights.values())
    if total <= 0:
        return {key: 1 / len(weights) for key in weights}
    return {key: weight / total for key, weight in weights.items()}


def mean_distribution(distributions: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The mean of several distributions over the same options."""
    return {key: sum(each[key] for each in distributions) / len(distributions) for key in distributions[0]}


def leader_probability(leader: int, runner_up: int) -> float:
    """Chance that the leader of a vote is the true favourite of the two: 1 - I_½(a+1, b+1).

    Adaptive-Consistency, arXiv 2305.11860. For whole counts the incomplete beta function at one half is
    a binomial tail, summed exactly.
    """
    trials = leader + runner_up + 1
    return float(sum(comb(trials, wins) for wins in range(leader + 1)) / 2**trials)


def uncatchable(leader: float, runner_up: float, left: float) -> bool:
    """Whether the leader wins even if every sample still to come votes for the runner-up."""
    return leader > runner_up + left


@dataclass(frozen=True, slots=True)
class VoteTally:
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


def count_votes(votes: Iterable[tuple[str | None, float]]) -> VoteTally:
    """Add up votes of (value, weight). A sample that could not be read (None) never votes."""
    weights: dict[str, float] = {}
    for value, weight in votes:
        if value is not None:
            weights[value] = weights.get(value, 0.0) + weight
    return VoteTally(tuple(sorted(weights.items(), key=lambda item: -item[1])))
