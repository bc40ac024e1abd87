"""A model behind a server: the probabilities of options, or the honest word that they are unknown."""

from __future__ import annotations

from math import exp
from typing import Any

import pytest

from agents.engines.base import Sampling
from tests.agents.engines.asking import after_probe, engine_of, once, probed
from tests.agents.engines.conftest import Serve
from tests.agents.engines.strip import words
from tests.agents.engines.stub import Answer, reply


def choosing(serve: Serve, likely: dict[str, float], choices: tuple[str, ...]) -> dict[str, float] | None:
    stub = serve()
    after_probe(stub, Answer(reply("?", likely=likely)))
    generation = once(engine_of(stub), words("Which?"), Sampling(choices=choices))
    found = generation.replies[0].probabilities
    return None if found is None else {key: round(value, 4) for key, value in found.items()}


def test_a_server_that_hides_the_other_options_offers_no_choices(serve: Serve) -> None:
    stub = serve(lambda _: Answer(reply("A", likely={"A": -0.3, "The": -1.5})), owner="somebody")
    assert probed(engine_of(stub)).capabilities == {"logprobs", "stream"}


def test_spellings_of_an_option_count_together(serve: Serve) -> None:
    likely = {"A": -1.0, " A": -2.0, "B": -1.5, "The": -3.0, "a": -4.0, "x": -12.0}
    a, b = exp(-1.0) + exp(-2.0), exp(-1.5)
    assert choosing(serve, likely, ("A", "B")) == {"A": round(a / (a + b), 4), "B": round(b / (a + b), 4)}


def test_a_reply_in_another_spelling_is_the_choice(serve: Serve) -> None:
    stub = serve()
    after_probe(stub, Answer(reply(" 10", likely={"1": -0.1, "x": -9.0})))
    found = once(engine_of(stub), words("?"), Sampling(choices=("1", "10"))).replies[0]
    assert (found.text, found.probabilities) == ("10", None)


def test_yes_and_no_may_have_capitals_and_be_cut(serve: Serve) -> None:
    found = choosing(serve, {"Yes": -0.1, "n": -3.0, "No": -4.0, " maybe": -9.0}, ("yes", "no"))
    assert found is not None and found["yes"] == round(exp(-0.1) / (exp(-0.1) + exp(-3.0) + exp(-4.0)), 4)


def test_an_option_that_is_surely_next_to_impossible_counts_as_zero(serve: Serve) -> None:
    assert choosing(serve, {"A": -0.001, "B": -7.0, "x": -14.0}, ("A", "B", "C")) == {"A": 0.9991, "B": 0.0009, "C": 0}


@pytest.mark.parametrize(
    ("likely", "choices"),
    [
        ({"A": -1.0, "x": -1.1}, ("A", "B")),  # B may be as likely as x
        ({"The": -0.1, "x": -9.0}, ("A", "B")),
        ({"1": -0.1, "2": -3.0, "x": -12.0}, ("1", "10", "2")),  # 1 or the beginning of 10
        ({}, ("A", "B")),
    ],
)
def test_what_the_list_does_not_settle_is_unknown(serve: Serve, likely: dict[str, float], choices: Any) -> None:
    assert choosing(serve, likely, choices) is None


def test_weighing_asks_for_one_token_of_the_untouched_distribution(serve: Serve) -> None:
    stub = serve()
    generation = once(engine_of(stub), words("?"), Sampling(temperature=0.0, choices=("yes", "no"), stop=("y",)), n=3)
    body = stub.bodies[-1]
    assert (body["max_tokens"], body["temperature"], body["n"], body["top_logprobs"]) == (1, 1.0, 1, 20)
    assert body["structured_outputs"] == {"choice": ["yes", "Yes", " yes", " Yes", "no", "No", " no", " No"]}
    assert "stop" not in body
    assert [each.text for each in generation.replies] == ["yes"] * 3
