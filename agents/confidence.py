"""Confidence in [0, 1] from token probabilities and votes: pure functions, natural logarithms."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from math import comb, exp

from agents.engine import Token


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


def pool(distributions: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The mean of several distributions over the same options."""
    return {key: sum(each[key] for each in distributions) / len(distributions) for key in distributions[0]}


def lead_probability(leader: int, runner_up: int) -> float:
    """Chance that the leader of a vote is the true favourite of the two: 1 - I_½(a+1, b+1).

    Adaptive-Consistency, arXiv 2305.11860. For whole counts the incomplete beta function at one half is
    a binomial tail, summed exactly.
    """
    trials = leader + runner_up + 1
    return float(sum(comb(trials, wins) for wins in range(leader + 1)) / 2**trials)


def uncatchable(leader: float, runner_up: float, left: float) -> bool:
    """Whether the leader wins even if every sample still to come votes for the runner-up."""
    return leader > runner_up + left
