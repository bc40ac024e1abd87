"""What clients wish for without knowing the strategy."""

from __future__ import annotations

from typing import Any

import pytest

from agents.presets import Catalogue
from app.answers.preferences import SamplingPreferences, apply_preferences


def granted(spec: str | dict[str, Any], seconds: float = 60.0, **wishes: Any) -> tuple[dict[str, Any], list[str]]:
    given = set() if isinstance(spec, str) else spec.keys() - {"name"}
    strategy, notes = apply_preferences(
        Catalogue.load().resolve(spec), given, SamplingPreferences(**wishes).for_duration(seconds)
    )
    return strategy.model_dump(), notes


@pytest.mark.parametrize(
    ("wishes", "frames"),
    [
        ({"frames": 10}, 10),
        ({"fps": 0.5}, 30),
        ({"fps": 0.001}, 1),
        ({"frames": 10, "fps": 0.5}, 10),
        ({"frames": 100, "fps": 0.5}, 30),
        ({"pictures": 40}, 40),
        ({"pictures": 3}, 32),
        ({"pictures": 40, "frames": 3}, 3),
    ],
)
def test_frames(wishes: dict[str, Any], frames: int) -> None:
    strategy, notes = granted("direct", **wishes)
    assert (strategy["frames"], notes) == (frames, [])


def test_what_is_out_of_bounds_is_brought_in_and_told() -> None:
    assert granted("direct", frames=5000)[1] == ["num_frames: direct takes 1024, not 5000"]
    assert granted("chain_of_thought", reply_tokens=4)[0]["max_tokens"] == 16


def test_what_the_caller_said_of_the_strategy_stays() -> None:
    strategy, notes = granted({"name": "direct", "frames": 4}, frames=10)
    assert (strategy["frames"], notes) == (4, ["num_frames: the strategy was given its own frames"])
    assert granted({"name": "direct", "frames": 4}, pictures=10)[0]["frames"] == 4


def test_what_a_strategy_has_no_place_for_is_told() -> None:
    assert granted("direct", temperature=0.7)[1] == ["temperature: direct has no temperature"]
    assert granted("auto", frames=9)[1] == ["num_frames: escalate has no frames"]
    assert granted("direct", temperature=0.0, top_p=1.0, reply_tokens=9)[1] == []
    assert granted("self_consistency", top_p=0.9)[1] == ["top_p: self_consistency has no top_p"]


def test_greed_that_makes_all_samples_alike_is_told() -> None:
    strategy, notes = granted("sparse_to_dense", temperature=0.0)
    assert strategy["temperature"] == 0.0
    assert notes == ["temperature: at 0 sparse_to_dense draws the same from the same frames again and again"]
    assert granted("chain_of_thought", temperature=0.0)[1] == []


def test_a_reply_is_never_made_longer_than_the_strategy_wants() -> None:
    assert granted("chain_of_thought", reply_tokens=100)[0]["max_tokens"] == 100
    assert granted("chain_of_thought", reply_tokens=5000)[0]["max_tokens"] == 256


def test_stages_are_reached_unless_the_caller_wrote_them() -> None:
    strategy, notes = granted("auto", temperature=0.2, pictures=50)
    assert [stage.get("temperature") for stage in strategy["strategies"]] == [None, None, 0.2]
    assert [stage["frames"] for stage in strategy["strategies"]] == [50, 50, 50]
    assert notes == []
    own = {"name": "escalate", "strategies": [{"name": "direct", "frames": 8}, "chain_of_thought"]}
    strategy, _ = granted(own, pictures=50, temperature=0.2)
    assert [stage["frames"] for stage in strategy["strategies"]] == [8, 50]


def test_no_wish_changes_nothing() -> None:
    for name in Catalogue.load().names:
        strategy = Catalogue.load().resolve(name)
        assert apply_preferences(strategy, (), SamplingPreferences().for_duration(9)) == (strategy, [])
