"""What the engine for servers promises, kept on a real vLLM."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from agents.core.model_client import compose_prompt
from agents.demo.questions import DemoQuestion
from agents.engines.base import Engine, Picture, Prompt, Sampling
from agents.engines.registry import open_engine
from agents.prompts.questions import ask
from tests.bench.scaling import posed
from tests.vllm.server import Server
from tests.vllm.service import engine_url
from tests.vllm.spent import Spent, measured
from tools.video.sampling import Span, grid
from tools.video.video import Video

pytestmark = [pytest.mark.vllm, pytest.mark.anyio]

FRAMES = 16
COLOUR = {
    "type": "object",
    "properties": {"colour": {"enum": ["red", "blue"]}, "sure": {"type": "boolean"}},
    "required": ["colour", "sure"],
    "additionalProperties": False,
}


@pytest.fixture
async def engine(demo: Server) -> AsyncIterator[Engine]:
    """The engine, probed, so that what a test measures is what it asked."""
    opened = open_engine(engine_url(demo))
    await opened.probe()
    yield opened
    await opened.close()


@pytest.fixture(scope="session")
def video(videos: list[tuple[Path, list[DemoQuestion]]]) -> Video:
    return Video.open(videos[0][0])


@pytest.fixture(scope="session")
def words(videos: list[tuple[Path, list[DemoQuestion]]]) -> str:
    return ask(posed(next(each for each in videos[0][1] if each.options)), "think", "text")


def shown(video: Video, tenant: str = "", frames: int = FRAMES) -> tuple[Picture, ...]:
    """Frames of a video, evenly. Another `tenant` makes other keys of the same pictures."""
    look = video.get_frames(grid(Span(0.0, video.metadata.duration), frames), 84)
    return tuple(Picture(frame, f"{tenant}{video.id}:{frame.time:.6f}:84") for frame in look.frames)


async def test_finds_out_what_the_server_is_and_can(engine: Engine) -> None:
    assert engine.model == "demo"
    assert engine.capabilities == {"logprobs", "choices", "schema", "beam", "reuse", "stream"}, (
        "its template knows no tools"
    )
    assert engine.context == 2048
    assert 9 < engine.frame_tokens(84) <= 16


async def test_a_reply_is_told_as_it_is_written_and_is_the_same(engine: Engine, video: Video, words: str) -> None:
    prompt, sampling, pieces = compose_prompt(shown(video), words), Sampling(max_tokens=64), list[str]()
    silent = await engine.generate(prompt, sampling, 1)
    streamed = await engine.generate(prompt, sampling, 1, pieces.append)
    assert "".join(pieces) == streamed.replies[0].text == silent.replies[0].text
    assert len(pieces) > 3
    assert len(streamed.replies[0].tokens) == len(silent.replies[0].tokens) > 3
    assert (streamed.prompt_tokens, streamed.completion_tokens) == (silent.prompt_tokens, silent.completion_tokens)


async def test_json_keeps_to_its_schema(engine: Engine, video: Video, words: str) -> None:
    prompt = compose_prompt(shown(video), words)
    generation = await engine.generate(prompt, Sampling(max_tokens=128, schema=COLOUR, temperature=1.0, seed=1), 3)
    for reply in generation.replies:
        found = json.loads(reply.text)
        assert found.keys() == {"colour", "sure"} and found["colour"] in ("red", "blue")


async def test_eight_samples_are_one_request_and_one_prefill(
    engine: Engine, demo: Server, video: Video, words: str
) -> None:
    prompt = compose_prompt(shown(video, frames=32), words)
    with measured(demo) as spent:
        generation = await engine.generate(prompt, Sampling(temperature=1.0, max_tokens=32, seed=1), 8)
    assert len(generation.replies) == 8 and spent.requests == 1
    assert generation.completion_tokens == spent.written
    assert spent.prefilled + spent.cached == 8 * generation.prompt_tokens
    assert spent.prefilled < 2 * generation.prompt_tokens, "only whole blocks of 32 tokens are shared"


async def test_a_beam_returns_the_likeliest_replies_each_once(engine: Engine, video: Video, words: str) -> None:
    generation = await engine.generate(compose_prompt(shown(video), words), Sampling(max_tokens=24, beam=True), 3)
    texts = [reply.text for reply in generation.replies]
    assert len(set(texts)) == 3 and not any(reply.tokens for reply in generation.replies)
    greedy = await engine.generate(compose_prompt(shown(video), words), Sampling(max_tokens=24), 1)
    assert greedy.replies[0].text in texts


async def test_frames_are_sent_once_and_again_after_a_restart(
    engine: Engine, demo: Server, video: Video, words: str
) -> None:
    tenant = engine.for_tenant("someone new")
    prompt, sampling = compose_prompt(shown(video), words), Sampling(max_tokens=16)
    first, first_cost = await _asked(tenant, demo, prompt, sampling)
    again, again_cost = await _asked(tenant, demo, prompt, sampling)
    assert again == first
    assert again_cost.bytes_received < 200 * FRAMES < first_cost.bytes_received, "names instead of frames"
    assert (again_cost.pictures, again_cost.known, again_cost.requests) == (FRAMES, FRAMES, 1)
    demo.restart()
    after, after_cost = await _asked(tenant, demo, prompt, sampling)
    assert after == first
    assert after_cost.requests == 2, "one without the bytes, refused, and one with them"
    assert after_cost.bytes_received > first_cost.bytes_received


async def test_new_frames_are_sent_old_ones_are_not(engine: Engine, demo: Server, video: Video, words: str) -> None:
    tenant = engine.for_tenant("who looks denser")
    _, few = await _asked(tenant, demo, compose_prompt(shown(video, frames=8), words), Sampling(max_tokens=4))
    _, more = await _asked(tenant, demo, compose_prompt(shown(video, frames=16), words), Sampling(max_tokens=4))
    assert (few.pictures, few.known) == (8, 0)
    assert (more.pictures, more.known) == (16, 8), "a nested grid keeps every old frame"
    assert more.bytes_received < 1.5 * few.bytes_received


async def test_tenants_share_no_cache(engine: Engine, demo: Server, video: Video, words: str) -> None:
    prompt, sampling = compose_prompt(shown(video), words), Sampling(max_tokens=4)
    costs = [
        (await _asked(engine.for_tenant(tenant), demo, prompt, sampling))[1]
        for tenant in ("one", "one", "other", "other")
    ]
    assert [cost.known for cost in costs] == [0, FRAMES, 0, FRAMES]
    assert [cost.cached > 0 for cost in costs] == [False, True, False, True]


async def _asked(engine: Engine, server: Server, prompt: Prompt, sampling: Sampling) -> tuple[str, Spent]:
    with measured(server) as spent:
        generation = await engine.generate(prompt, sampling, 1)
    return generation.replies[0].text, spent
