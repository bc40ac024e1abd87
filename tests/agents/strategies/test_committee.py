"""A committee keeps the direct answer unless its evidence supports another; presets test what each stage does."""

from __future__ import annotations

from typing import Any

import pytest

from agents.core.budget import Budget
from agents.engines.base import Prompt, Sampling
from agents.presets import BadStrategy, Catalogue
from tests.agents.planner.stage import KNOWN, NO, SLOTS, UNSURE, YES
from tests.agents.stage import play, sure
from tools.index.index import Index
from tools.video.video import Video

SPEC = {"name": "committee", "stages": [{"do": "ground", "spans": 1}, {"do": "answer"}]}
ROLES = '{"ground": true, "query": "blue square"}'


@pytest.mark.parametrize(("verdict", "value"), [(YES, "C"), (NO, "A")])
def test_another_answer_needs_evidence_that_supports_it(video: Video, verdict: dict[str, float], value: str) -> None:
    index = Index(video.span.end, KNOWN)
    done = play(video, SPEC, [UNSURE, ROLES, sure("C", 0.9), verdict], capabilities=SLOTS, index=index)
    assert done.value == value
    assert all(24 <= time <= 64 for time in done.calls[-1].times), "32 seconds around the one that was found"


def test_a_stage_that_does_not_exist_is_named() -> None:
    with pytest.raises(BadStrategy) as caught:
        Catalogue.load().resolve({"name": "committee", "stages": [{"do": "sing"}]})
    assert caught.value.param == "stages.0"


@pytest.mark.parametrize("name", ["committee", "videomind", "reagent_v", "viqagent"])
@pytest.mark.parametrize("budget", [Budget(calls=3), Budget(frames=30), Budget(tokens=2500)], ids=str)
def test_every_stage_keeps_to_the_budget(video: Video, name: str, budget: Budget) -> None:
    def model(_: Prompt, sampling: Sampling, n: int) -> list[Any]:
        return [UNSURE if len(sampling.choices) == 4 else YES if sampling.choices else "so it is"] * n

    done = play(video, name, model, budget=budget, capabilities=SLOTS)
    assert done.value == "A"
    assert done.run.usage.calls <= (budget.calls or 10**9)
    assert done.run.usage.frames_viewed <= (budget.frames or 10**9)
