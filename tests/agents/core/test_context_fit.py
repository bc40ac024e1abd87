import asyncio

import pytest

from agents.core.budget import Budget
from agents.core.context_fit import FittedPrompt, fit_prompt, prompt_fits
from agents.core.run import Run
from agents.core.runner import run_strategy
from agents.engines.base import (
    Generation,
    OnText,
    Prompt,
    PromptTooLong,
    Sampling,
    ToolSpec,
    pictures_of,
    prompt_token_bound,
)
from agents.engines.scripted import RecordedCall, ScriptedEngine
from agents.presets import Catalogue
from tests.agents.engines.strip import strip
from tests.agents.stage import COLOURS, Perform, sure
from tools.video.video import Video

SHORT = Sampling(max_tokens=10)


def fitted(prompt: Prompt, context: int | None, min_side: int = 16) -> FittedPrompt:
    engine = ScriptedEngine([], side=56, min_side=min_side, context=context, tokens_per_frame=100)
    return asyncio.run(fit_prompt(engine, prompt, SHORT))


def longest(prompt: Prompt) -> int:
    return max(picture.frame.width for picture in pictures_of(prompt))


@pytest.mark.parametrize("context", [None, 5000])
def test_a_prompt_that_fits_is_left_alone(context: int | None) -> None:
    prompt = strip(8, "What?")
    assert fitted(prompt, context) == FittedPrompt(prompt)


def test_pictures_become_smaller_before_they_become_fewer() -> None:
    found = fitted(strip(8, "What?"), 600)
    assert (len(pictures_of(found.prompt)), longest(found.prompt)) == (8, 42)
    assert found.degraded == ("context: frames of 42 instead of 56 pixels",)


def test_below_the_least_side_frames_are_left_out_evenly() -> None:
    found = fitted(strip(16, "What?"), 700, min_side=42)
    times = [picture.time for picture in pictures_of(found.prompt)]
    assert longest(found.prompt) == 42 and 4 <= len(times) < 16
    assert times[0] <= 2 and times[-1] >= 13
    assert found.degraded == (
        "context: frames of 42 instead of 56 pixels",
        f"context: shown {len(times)} of 16 frames",
    )


def test_where_size_saves_nothing_only_frames_are_left_out() -> None:
    found = fitted(strip(16, "What?"), 900, min_side=56)
    assert longest(found.prompt) == 56
    assert found.degraded == (f"context: shown {len(pictures_of(found.prompt))} of 16 frames",)


@pytest.mark.parametrize("context", [900, 1100, 1300, 1500])
def test_what_comes_out_fits_with_its_reply(context: int) -> None:
    found = fitted(strip(16, "What?"), context, min_side=56)
    engine = ScriptedEngine([], side=56, tokens_per_frame=100)
    assert prompt_token_bound(engine, found.prompt) + SHORT.max_tokens <= context
    assert prompt_token_bound(engine, strip(len(pictures_of(found.prompt)) + 1, "What?")) + SHORT.max_tokens > context


def test_fewer_than_four_frames_are_an_error() -> None:
    assert len(pictures_of(fitted(strip(16, "What?"), 500, min_side=56).prompt)) == 4
    with pytest.raises(PromptTooLong, match="longer than the 480 tokens that scripted reads"):
        fitted(strip(16, "What?"), 480, min_side=56)
    with pytest.raises(PromptTooLong):
        fitted(strip(1, "What? " * 500), 480)


def test_no_more_pictures_are_shown_than_the_engine_takes() -> None:
    engine = ScriptedEngine([], side=56, max_pictures=3)
    found = asyncio.run(fit_prompt(engine, strip(9, "What?"), SHORT))
    assert [picture.time for picture in pictures_of(found.prompt)] == [1, 4, 7]
    assert found.degraded == ("model: shown 3 of 9 frames",)
    assert asyncio.run(fit_prompt(engine, strip(3, "What?"), SHORT)).degraded == ()


def test_words_are_counted_before_anything_is_given_up() -> None:
    class Counting(ScriptedEngine):
        async def count(self, text: str) -> int:
            return len(text) // 4

    engine = Counting([], side=56, context=800)
    prompt = strip(4, "word " * 400)
    assert asyncio.run(fit_prompt(engine, prompt, SHORT)) == FittedPrompt(prompt)


def test_a_run_reports_what_did_not_fit(perform: Perform) -> None:
    done = perform("direct", [sure("A", 0.9)], context=400)
    assert done.frames == [len(done.run.usage.frame_times[0])] and done.frames[0] < 32
    assert done.run.usage.degraded == [f"context: shown {done.frames[0]} of 32 frames"]


def test_a_question_too_long_for_the_model_is_the_callers(perform: Perform) -> None:
    with pytest.raises(PromptTooLong):
        perform("direct", [sure("A", 0.9)], context=100, budget=Budget(calls=3))


class Learner(ScriptedEngine):
    """An engine that finds out how much it reads by being asked for more."""

    reads = 400
    refused = 0

    async def generate(self, prompt: Prompt, sampling: Sampling, n: int, on_text: OnText | None = None) -> Generation:
        if prompt_token_bound(self, prompt) + sampling.max_tokens > self.reads:
            self.context, self.refused = self.reads, self.refused + 1
            raise PromptTooLong("too long")
        return await super().generate(prompt, sampling, n, on_text)


def test_what_an_engine_learns_by_refusing_is_used_at_once(video: Video) -> None:
    engine = Learner([sure("A", 0.9)])
    run = Run(COLOURS, video, engine, budget=Budget(calls=1))
    outcome = asyncio.run(run_strategy(Catalogue.load().resolve("direct"), run))
    assert engine.refused == 1 and outcome.answer.value == "A"
    shown = len(run.usage.frame_times[0])
    assert run.usage.calls == 1 and shown == engine.calls[0].frames < 32
    assert run.usage.degraded == [f"context: shown {shown} of 32 frames"]


def test_a_prompt_is_not_sent_again_when_nothing_was_learned(video: Video) -> None:
    class Stubborn(ScriptedEngine):
        async def generate(
            self, prompt: Prompt, sampling: Sampling, n: int, on_text: OnText | None = None
        ) -> Generation:
            self.calls.append(RecordedCall(prompt, sampling, n))
            assert on_text is None
            raise PromptTooLong("too long")

    engine = Stubborn([])
    run = Run(COLOURS, video, engine)
    with pytest.raises(PromptTooLong):
        asyncio.run(run_strategy(Catalogue.load().resolve("direct"), run))
    assert len(engine.calls) == 1 and run.usage.calls == 0


def test_room_is_kept_for_the_tools_that_the_model_is_told_of() -> None:
    engine = ScriptedEngine([], side=56, min_side=16, context=900, tokens_per_frame=100)
    tool = ToolSpec("look", "Look closer. " * 20, {})
    plain, told = SHORT, Sampling(max_tokens=10, tools=(tool,))
    prompt = strip(8, "What?")
    assert asyncio.run(prompt_fits(engine, prompt, plain)) and not asyncio.run(prompt_fits(engine, prompt, told))
    found = asyncio.run(fit_prompt(engine, prompt, told))
    assert longest(found.prompt) == 42
    assert asyncio.run(prompt_fits(engine, found.prompt, told))
