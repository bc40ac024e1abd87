from math import exp, log

import pytest

from agents.engines.base import Token
from agents.parsing.confidence import (
    leader_probability,
    least_probability,
    margin,
    mean_probability,
    normalise,
    uncatchable,
)


@pytest.mark.parametrize(
    ("leader", "runner_up", "probability"),
    [
        (3, 0, 0.9375),
        (4, 0, 0.969),
        (6, 1, 0.965),
        (8, 2, 0.967),
        (9, 3, 0.954),
        (11, 4, 0.962),
        (12, 5, 0.952),
    ],
)
def test_the_beta_rule_gives_the_exact_sums(leader: int, runner_up: int, probability: float) -> None:
    assert leader_probability(leader, runner_up) == pytest.approx(probability, abs=5e-4)


def test_a_tie_is_a_coin_flip() -> None:
    assert leader_probability(4, 4) == 0.5


def test_the_leader_is_uncatchable_only_when_a_tie_is_impossible() -> None:
    assert uncatchable(5, 2, 2)
    assert not uncatchable(4, 2, 2)


def test_token_probabilities() -> None:
    tokens = [Token("a", log(0.9)), Token("b", log(0.4))]
    assert least_probability(tokens) == pytest.approx(0.4)
    assert mean_probability(tokens) == pytest.approx(exp((log(0.9) + log(0.4)) / 2))
    assert least_probability([]) is None
    assert mean_probability([]) is None


def test_margin_and_normalise() -> None:
    assert margin([0.2, 0.7, 0.1]) == pytest.approx(0.5)
    assert margin([1.0]) == 1.0
    assert normalise({"a": 0.0, "b": 0.0}) == {"a": 0.5, "b": 0.5}
