import asyncio

import pytest

from agents.core.budget import Budget, BudgetExceeded, BudgetMeter, CallCost
from agents.core.run import Run
from agents.engines.base import EngineError, Sampling
from agents.engines.scripted import ScriptedEngine
from tests.agents.stage import COLOURS, Perform, sure, thoughts
from tools.video.sampling import uniform
from tools.video.video import Video


def test_a_charge_that_does_not_fit_takes_nothing() -> None:
    meter = BudgetMeter(Budget(frames=10, calls=2))
    meter.reserve(CallCost(frames=8, calls=1))
    with pytest.raises(BudgetExceeded, match="frames: wanted 4, 2 left"):
        meter.reserve(CallCost(frames=4, calls=1))
    assert meter.spent == CallCost(frames=8, calls=1)


def test_settling_gives_back_what_was_reserved_too_much() -> None:
    meter = BudgetMeter(Budget(tokens=100))
    meter.reserve(CallCost(tokens=90))
    meter.settle(CallCost(tokens=90), CallCost(tokens=30))
    assert meter.left("tokens") == 70


def test_the_tighter_of_two_budgets_holds_limit_by_limit() -> None:
    capped = Budget(frames=10, seconds=60).capped(Budget(frames=20, tokens=5, seconds=30))
    assert capped == Budget(frames=10, tokens=5, seconds=30)


def concurrent(video: Video, budget: Budget) -> ScriptedEngine:
    """Five concurrent asks of 4 frames each, on an engine that takes a moment to reply."""
    engine = ScriptedEngine(lambda *_: ["Answer: A"], pause=0.01)
    run = Run(COLOURS, video, engine, budget=budget)
    run.propose("A")

    async def race() -> None:
        pictures = await run.look(uniform(run.span, 4))
        await run.gather(run.ask(pictures, Sampling()) for _ in range(5))

    with pytest.raises(BudgetExceeded):
        asyncio.run(race())
    return engine


@pytest.mark.parametrize("budget", [Budget(calls=2), Budget(frames=8), Budget(tokens=600)], ids=str)
def test_concurrent_asks_cannot_overspend(video: Video, budget: Budget) -> None:
    assert len(concurrent(video, budget).calls) <= 2


def test_charging_after_the_call_would_overspend(video: Video) -> None:
    """The other way round: with a meter that only charges when the work is done, the same race overspends."""

    class LateMeter(BudgetMeter):
        def reserve(self, cost: CallCost) -> None:
            pass

        def settle(self, reserved: CallCost, actual: CallCost) -> None:  # noqa: ARG002
            super().reserve(actual)

    engine = ScriptedEngine(lambda *_: ["Answer: A"], pause=0.01)
    run = Run(COLOURS, video, engine, budget=Budget(calls=2))
    run.propose("A")
    run._client._meter = LateMeter(run.budget)

    async def race() -> None:
        pictures = await run.look(uniform(run.span, 4))
        await run.gather(run.ask(pictures, Sampling()) for _ in range(5))

    with pytest.raises(BudgetExceeded):
        asyncio.run(race())
    assert len(engine.calls) == 5


def test_out_of_calls_the_best_answer_so_far_is_returned(perform: Perform) -> None:
    done = perform("until_confident", [sure("A", 0.5), sure("B", 0.6)], budget=Budget(calls=2))
    assert (done.value, done.stopped) == ("B", "budget")
    assert done.confidence == pytest.approx(0.6)
    assert done.run.usage.degraded == ["budget: calls: wanted 1, 0 left"]


def test_a_first_call_too_big_for_the_budget_is_made_smaller_and_says_so(perform: Perform) -> None:
    done = perform("direct", [sure("A", 0.5)], budget=Budget(frames=5))
    assert (done.frames, done.value) == ([5], "A")
    assert done.run.usage.degraded == ["budget: shown 5 of 32 frames"]


def test_samples_go_before_frames_when_tokens_are_short(perform: Perform) -> None:
    spec = {"name": "best_of_n", "samples": 8, "max_tokens": 100}
    done = perform(spec, [*thoughts(*"AA"), {"yes": 1.0, "no": 0.0}], budget=Budget(tokens=1010))
    assert done.samples[0] == 2
    assert done.frames[0] == 32
    assert "budget: drew 2 of 8 samples" in done.run.usage.degraded


def test_of_asks_made_at_once_those_that_can_be_paid_still_count(perform: Perform) -> None:
    spec = {"name": "self_consistency", "frames": 8, "diversity": "frames"}
    done = perform(spec, lambda *_: thoughts("A"), budget=Budget(frames=20))
    assert (done.frames, done.value, done.stopped) == ([8, 8], "A", "budget")
    assert done.run.usage.degraded == ["budget: frames: wanted 8, 4 left"]


def test_a_budget_too_small_for_any_call_says_so(perform: Perform) -> None:
    done = perform("direct", [sure("A", 0.5)], budget=Budget(tokens=3))
    assert (done.value, done.stopped, done.calls) == (None, "budget", [])


def test_out_of_seconds_the_engine_is_cancelled(perform: Perform) -> None:
    def slow_second_round(*_: object) -> list[dict[str, float]]:
        return [sure("A", 0.5)]

    done = perform("until_confident", slow_second_round, budget=Budget(seconds=0.5), pause=0.3)
    assert (done.value, done.stopped, done.engine.cancelled) == ("A", "budget", 1)


def test_an_engine_that_fails_midway_leaves_the_best_answer(perform: Perform) -> None:
    done = perform("until_confident", [sure("A", 0.5)])
    assert (done.value, done.stopped) == ("A", "engine")
    assert done.run.usage.degraded == ["engine: the script has no more lines"]


def test_an_engine_that_fails_at_once_is_an_error(perform: Perform) -> None:
    with pytest.raises(EngineError):
        perform("direct", [])
