"""Frames as one video with true times, and tool calls, on a model that knows both."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from math import log

import numpy as np
import pytest

from agents.core.model_client import compose_prompt
from agents.engines.base import Engine, Generation, Message, Picture, Prompt, Sampling, ToolSpec
from agents.engines.registry import open_engine
from tests.vllm.server import Server
from tests.vllm.spent import measured
from tests.vllm.tiny_qwen import CALL, SIDE
from tools.video.frame import Frame

pytestmark = [pytest.mark.vllm, pytest.mark.anyio]

A_PAIR = 4  # tokens of two frames of that side, which the model sees as one
SHORT = Sampling(max_tokens=1)


@pytest.fixture
async def engine(qwen: Server) -> AsyncIterator[Engine]:
    """The engine, which finds out by itself that this family is best shown videos."""
    opened = open_engine(f"openai:{qwen.url}?side={SIDE}")
    await opened.probe()
    yield opened
    await opened.close()


def shown(*times: float, seed: int = 0) -> tuple[Picture, ...]:
    """Different noise at every second."""
    rng = np.random.default_rng(seed)
    frames = (Frame(time, rng.integers(0, 256, (SIDE, SIDE, 3), np.uint8)) for time in times)
    return tuple(Picture(frame, f"noise {seed} {frame.time}") for frame in frames)


def words_for(*times: float) -> int:
    """Tokens, here bytes, of the words that the model itself puts before each pair, and of the two marks around it."""
    pairs = zip(times[::2], times[1::2], strict=True)
    return sum(len(f"<{(one + other) / 2:.1f} seconds>") + 2 for one, other in pairs)


async def test_offers_video_and_tools(engine: Engine) -> None:
    assert {"video", "tools", "schema", "logprobs", "choices", "beam", "reuse", "stream"} == engine.capabilities


@pytest.mark.parametrize("count", [2, 32, 48, 96])
async def test_every_frame_of_a_video_counts(engine: Engine, count: int) -> None:
    times = [0.5 * index for index in range(count)]
    bare = await _tokens(engine, ())
    seen = await _tokens(engine, shown(*times)) - bare
    around = seen - A_PAIR * count // 2 - words_for(*times)
    assert 0 <= around <= 4, "the marks around the video and the line after it"


async def test_uneven_seconds_reach_the_model(engine: Engine) -> None:
    even = await _tokens(engine, shown(0.0, 1.0, 2.0, 3.0))
    late = await _tokens(engine, shown(0.0, 1.0, 1000.0, 3000.0))
    assert late - even == words_for(0.0, 1.0, 1000.0, 3000.0) - words_for(0.0, 1.0, 2.0, 3.0) == 3


async def test_other_seconds_and_other_pixels_change_what_the_model_says(engine: Engine) -> None:
    """Prompts of the same length: what differs is what the model reads, not how much."""
    there, later, other = shown(1.0, 2.0, 5.0, 6.0), shown(3.0, 4.0, 7.0, 8.0), shown(1.0, 2.0, 5.0, 6.0, seed=1)
    first, other_times, again, other_pixels = [await _weigh(engine, each) for each in (there, later, there, other)]
    assert first == pytest.approx(again, abs=0.01)
    assert abs(first - other_times) > 0.1 and abs(first - other_pixels) > 0.1


async def test_a_video_is_sent_once(engine: Engine, qwen: Server) -> None:
    pictures = shown(*(0.5 * index for index in range(40)), seed=2)
    costs = []
    for text in ("What?", "When?"):
        with measured(qwen) as spent:
            await engine.for_tenant("viewer").generate(compose_prompt(pictures, text), SHORT, 1)
        costs.append(spent)
    assert (costs[1].pictures, costs[1].known) == (1, 1)
    assert costs[1].bytes_received < 3000 < 100_000 < costs[0].bytes_received


async def test_a_tool_is_called_and_its_result_read(engine: Engine) -> None:
    schema = {"type": "object", "properties": {"second": {"type": "number"}}, "required": ["second"]}
    tool = ToolSpec("look_closer", "Look at one second again.", schema)
    prompt: Prompt = compose_prompt(shown(1.0, 2.0), "What?")
    (reply,) = (await engine.generate(prompt, Sampling(max_tokens=32, tools=(tool,)), 1)).replies
    (call,) = reply.calls
    assert reply.finish == "calls" and call.id
    assert {"name": call.name, "arguments": json.loads(call.arguments)} == CALL
    result = Message("tool", ("A red star.", *shown(2.5, seed=3)), call=call)
    answer = await engine.generate((*prompt, Message("assistant", (), calls=reply.calls), result), SHORT, 1)
    assert answer.prompt_tokens > 0 and not answer.replies[0].calls


async def _tokens(engine: Engine, pictures: tuple[Picture, ...]) -> int:
    return (await _ask(engine, pictures)).prompt_tokens


async def _ask(engine: Engine, pictures: tuple[Picture, ...]) -> Generation:
    return await engine.generate(compose_prompt(pictures, "What?"), SHORT, 1)


async def _weigh(engine: Engine, pictures: tuple[Picture, ...]) -> float:
    """The log-odds of two letters, of which random weights prefer one by chance."""
    generation = await engine.generate(compose_prompt(pictures, "What?"), Sampling(max_tokens=1, choices=("A", "B")), 1)
    known = generation.replies[0].probabilities
    assert known is not None
    return log(known["A"]) - log(known["B"])
