"""What holds for every engine: scripted, in process, behind a server."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from agents.engines.base import Engine, Generation, Prompt, Sampling
from agents.engines.registry import open_engine
from agents.engines.scripted import ScriptedEngine, ScriptLine
from tests.agents.engines.conftest import Serve
from tests.agents.engines.strip import strip
from tests.agents.engines.stub import Answer, Json, reply, talkative

ENDLESS = Sampling(temperature=2.0, max_tokens=300, seed=99)
PROMPT = strip(3, "Which one?")

Open = Callable[[], Engine]
Act = Callable[[Engine], Awaitable[None]]


def _script(_: Prompt, sampling: Sampling, n: int) -> list[ScriptLine]:
    if sampling.choices:
        return [{choice: 1 / len(sampling.choices) for choice in sampling.choices}] * n
    return [f"sample {at} of {sampling.seed}" if sampling.temperature else "always this" for at in range(n)]


def _server(body: Json) -> Answer:
    return Answer(reply("late"), pause=30) if body.get("seed") == ENDLESS.seed else talkative(body)


@pytest.fixture(params=["scripted", "transformers", "openai"])
def opened(request: pytest.FixtureRequest, serve: Serve, llava_folder: Path) -> Open:
    """How to open one of the engines."""
    if request.param == "scripted":
        return lambda: ScriptedEngine(_script, pause=0.01)
    if request.param == "transformers":
        return lambda: open_engine(f"transformers:{llava_folder}?device=cpu")
    stub = serve(_server)
    return lambda: open_engine(f"openai:{stub.url}")


def play(opened: Open, act: Act) -> None:
    async def whole() -> None:
        engine = opened()
        try:
            await act(engine)
        finally:
            await engine.close()

    asyncio.run(whole())


def test_it_draws_as_many_replies_as_asked_and_counts_their_tokens(opened: Open) -> None:
    async def act(engine: Engine) -> None:
        for n in (1, 5):
            generation = await engine.generate(PROMPT, Sampling(temperature=1.0, max_tokens=8, seed=1), n)
            assert len(generation.replies) == n
            assert generation.prompt_tokens > 0 and generation.completion_tokens >= 0
            assert 0 <= generation.cached_tokens <= generation.prompt_tokens

    play(opened, act)


def test_a_reply_can_be_streamed_and_is_the_same(opened: Open) -> None:
    async def act(engine: Engine) -> None:
        sampling = Sampling(temperature=1.0, max_tokens=12, seed=1)
        silent, pieces = await engine.generate(PROMPT, sampling, 1), list[str]()
        streamed = await engine.generate(PROMPT, sampling, 1, pieces.append)
        assert "stream" in engine.capabilities
        assert [each.text for each in streamed.replies] == [each.text for each in silent.replies]
        assert (streamed.prompt_tokens, streamed.completion_tokens) == (silent.prompt_tokens, silent.completion_tokens)
        assert "".join(pieces) == streamed.replies[0].text
        assert len(pieces) > 1

    play(opened, act)


def test_several_replies_are_not_streamed(opened: Open) -> None:
    async def act(engine: Engine) -> None:
        pieces: list[str] = []
        found = await engine.generate(PROMPT, Sampling(temperature=1.0, max_tokens=4, seed=1), 2, pieces.append)
        assert len(found.replies) == 2 and not pieces

    play(opened, act)


def test_it_says_what_a_frame_costs_and_how_large_it_should_be(opened: Open) -> None:
    async def act(engine: Engine) -> None:
        await engine.generate(PROMPT, Sampling(max_tokens=1), 1)
        assert engine.side > 0 and engine.frame_tokens(engine.side) > 0 and engine.model

    play(opened, act)


def test_greedy_is_deterministic(opened: Open) -> None:
    async def act(engine: Engine) -> None:
        found = [await engine.generate(PROMPT, Sampling(max_tokens=8), 2) for _ in range(2)]
        texts = {each.text for generation in found for each in generation.replies}
        assert len(texts) == 1

    play(opened, act)


def test_samples_with_a_seed_are_reproducible_and_differ(opened: Open) -> None:
    async def act(engine: Engine) -> None:
        sampling = Sampling(temperature=1.0, max_tokens=8, seed=1)
        one, same = [await engine.generate(PROMPT, sampling, 3) for _ in range(2)]
        assert [each.text for each in one.replies] == [each.text for each in same.replies]
        assert len({each.text for each in one.replies}) > 1

    play(opened, act)


def test_tokens_have_logprobs_and_spell_the_reply(opened: Open) -> None:
    async def act(engine: Engine) -> None:
        generation = await engine.generate(PROMPT, Sampling(temperature=1.0, max_tokens=8, seed=1), 3)
        assert "logprobs" in engine.capabilities
        for each in generation.replies:
            assert "".join(token.text for token in each.tokens) == each.text
            assert all(token.logprob <= 0 for token in each.tokens)

    play(opened, act)


@pytest.mark.parametrize("choices", [("A", "B", "C", "D"), ("yes", "no")], ids=str)
def test_choices_have_probabilities_that_sum_to_one(opened: Open, choices: tuple[str, ...]) -> None:
    async def act(engine: Engine) -> None:
        await engine.generate(PROMPT, Sampling(max_tokens=1), 1)
        assert "choices" in engine.capabilities
        generation = await engine.generate(PROMPT, Sampling(max_tokens=1, choices=choices), 2)
        for each in generation.replies:
            probabilities = dict(each.probabilities or {})
            assert set(probabilities) == set(choices)
            assert sum(probabilities.values()) == pytest.approx(1.0)
            assert probabilities[each.text] == max(probabilities.values())

    play(opened, act)


def test_cancelling_leaves_it_usable(opened: Open) -> None:
    async def act(engine: Engine) -> None:
        await engine.generate(PROMPT, Sampling(max_tokens=1), 1)
        task = asyncio.create_task(engine.generate(PROMPT, ENDLESS, 8))
        await asyncio.sleep(0.005)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        generation: Generation = await engine.generate(PROMPT, Sampling(max_tokens=4), 1)
        assert len(generation.replies) == 1

    play(opened, act)


def test_closing_twice_is_closing_once(opened: Open) -> None:
    async def act(engine: Engine) -> None:
        await engine.generate(PROMPT, Sampling(max_tokens=1), 1)
        await engine.close()
        await engine.close()

    play(opened, act)
