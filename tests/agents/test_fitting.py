import asyncio

import pytest

from agents.budget import Budget
from agents.engine import Prompt, Sampling, TooLong, pictures_of, reserve
from agents.engines.scripted import ScriptedEngine
from agents.fitting import Fitted, fit
from tests.agents.engines.strip import strip
from tests.agents.stage import Perform, sure

SHORT = Sampling(max_tokens=10)


def fitted(prompt: Prompt, context: int | None, least_side: int = 16) -> Fitted:
    engine = ScriptedEngine([], side=56, least_side=least_side, context=context, tokens_per_frame=100)
    return asyncio.run(fit(engine, prompt, SHORT))


def longest(prompt: Prompt) -> int:
    return max(picture.frame.width for picture in pictures_of(prompt))


@pytest.mark.parametrize("context", [None, 5000])
def test_a_prompt_that_fits_is_left_alone(context: int | None) -> None:
    prompt = strip(8, "What?")
    assert fitted(prompt, context) == Fitted(prompt)


def test_pictures_become_smaller_before_they_become_fewer() -> None:
    found = fitted(strip(8, "What?"), 600)
    assert (len(pictures_of(found.prompt)), longest(found.prompt)) == (8, 42)
    assert found.degraded == ("context: frames of 42 instead of 56 pixels",)


def test_below_the_least_side_frames_are_left_out_evenly() -> None:
    found = fitted(strip(16, "What?"), 700, least_side=42)
    times = [picture.time for picture in pictures_of(found.prompt)]
    assert longest(found.prompt) == 42 and 4 <= len(times) < 16
    assert times[0] <= 2 and times[-1] >= 13
    assert found.degraded == (
        "context: frames of 42 instead of 56 pixels",
        f"context: shown {len(times)} of 16 frames",
    )


def test_where_size_saves_nothing_only_frames_are_left_out() -> None:
    found = fitted(strip(16, "What?"), 900, least_side=56)
    assert longest(found.prompt) == 56
    assert found.degraded == (f"context: shown {len(pictures_of(found.prompt))} of 16 frames",)


@pytest.mark.parametrize("context", [900, 1100, 1300, 1500])
def test_what_comes_out_fits_with_its_reply(context: int) -> None:
    found = fitted(strip(16, "What?"), context, least_side=56)
    engine = ScriptedEngine([], side=56, tokens_per_frame=100)
    assert reserve(engine, found.prompt) + SHORT.max_tokens <= context
    assert reserve(engine, strip(len(pictures_of(found.prompt)) + 1, "What?")) + SHORT.max_tokens > context


def test_fewer_than_four_frames_are_an_error() -> None:
    assert len(pictures_of(fitted(strip(16, "What?"), 500, least_side=56).prompt)) == 4
    with pytest.raises(TooLong, match="longer than the 480 tokens that scripted reads"):
        fitted(strip(16, "What?"), 480, least_side=56)
    with pytest.raises(TooLong):
        fitted(strip(1, "What? " * 500), 480)


def test_words_are_counted_before_anything_is_given_up() -> None:
    class Counting(ScriptedEngine):
        async def count(self, text: str) -> int:
            return len(text) // 4

    engine = Counting([], side=56, context=800)
    prompt = strip(4, "word " * 400)
    assert asyncio.run(fit(engine, prompt, SHORT)) == Fitted(prompt)


def test_a_run_reports_what_did_not_fit(perform: Perform) -> None:
    done = perform("direct", [sure("A", 0.9)], context=400)
    assert done.frames == [len(done.run.ledger.frame_times[0])] and done.frames[0] < 32
    assert done.run.ledger.degraded == [f"context: shown {done.frames[0]} of 32 frames"]


def test_a_question_too_long_for_the_model_is_the_callers(perform: Perform) -> None:
    with pytest.raises(TooLong):
        perform("direct", [sure("A", 0.9)], context=100, budget=Budget(calls=3))
