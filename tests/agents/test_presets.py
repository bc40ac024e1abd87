from typing import Any

import pytest

from agents.presets import BadStrategy, Catalogue, StrategyPreset
from agents.strategies.self_consistency import SelfConsistency


@pytest.mark.parametrize(
    ("spec", "param", "code", "words"),
    [
        ("nonesuch", "strategy", "unknown_strategy", "There are: "),
        ({}, "strategy", "unknown_strategy", "There is no strategy 'None'"),
        ({"name": "direct", "frmes": 3}, "frmes", "unknown_parameter", "It has: frames, rotations"),
        ({"name": ["direct"]}, "strategy", "unknown_strategy", "There is no strategy"),
        (
            {"strategies": [{"name": "direct", "x": 1}], "name": "auto"},
            "strategies.0.x",
            "unknown_parameter",
            "direct has",
        ),
        ({"name": "direct", "frames": 0}, "frames", "invalid_parameter", "greater than or equal to 1"),
        ({"name": "direct", "frames": "many"}, "frames", "invalid_parameter", "valid integer"),
        ({"name": "auto", "confidence": 2}, "confidence", "invalid_parameter", "less than or equal to 1"),
        (
            {"name": "escalate", "strategies": ["direct", {"name": "direct", "frames": -1}]},
            "strategies.1.frames",
            "invalid_parameter",
            "greater than",
        ),
    ],
)
def test_a_wrong_request_names_the_parameter(spec: Any, param: str, code: str, words: str) -> None:
    with pytest.raises(BadStrategy, match=words) as caught:
        Catalogue.load().resolve(spec)
    assert (caught.value.param, caught.value.code) == (param, code)


def test_parameters_of_a_request_win_over_those_of_the_preset() -> None:
    strategy = Catalogue.load().resolve({"name": "context_vote", "samples": 3})
    assert isinstance(strategy, SelfConsistency)
    assert (strategy.samples, strategy.weight) == (3, "margin")


def test_a_preset_that_does_not_fit_its_program_stops_the_start() -> None:
    wrong = StrategyPreset(strategy="direct", summary="", paper="2401.00001", fidelity="exact", parameters={"x": 1})
    with pytest.raises(BadStrategy, match="no parameter 'x'"):
        Catalogue({"wrong": wrong})


def test_a_preset_must_not_hide_a_program() -> None:
    with pytest.raises(ValueError, match="hides the strategy"):
        Catalogue({"direct": StrategyPreset(strategy="direct", summary="", paper="2401.00001", fidelity="exact")})
