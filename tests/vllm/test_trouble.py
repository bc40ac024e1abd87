"""Callers that leave and servers that die: nothing goes on working for nobody, and nobody waits for nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from agents.core.model_client import compose_prompt
from agents.demo.questions import DemoQuestion
from agents.engines.base import Sampling
from agents.engines.registry import open_engine
from app.settings import Settings
from tests.app.conftest import over_socket
from tests.vllm.server import Server
from tests.vllm.service import asking, serving
from tests.vllm.spent import measured

pytestmark = [pytest.mark.vllm, pytest.mark.anyio]

LONG = 3000  # tokens: many seconds of work for a model that does not end by itself
SECONDS = 5.0  # in which a caller hears that the server died
VOTE: dict[str, Any] = {
    "name": "self_consistency",
    "samples": 8,
    "frames": 4,
    "max_tokens": LONG,
    "diversity": "temperature",
    "stop": "fixed",
}
Videos = list[tuple[Path, list[DemoQuestion]]]


def qwen_url(server: Server) -> str:
    """Frames as pictures, as small as they come."""
    return f"openai:{server.url}?side=64&packing=images"


def a_choice(videos: Videos) -> DemoQuestion:
    """A question with options about the first video."""
    return next(each for each in videos[0][1] if each.options)


async def until(holds: Callable[[], Awaitable[bool]], *asked: asyncio.Future[Any]) -> None:
    """Wait until it holds; a server that has just started, or works hard, is slow. Raises TimeoutError.

    It is to hold while all that was `asked` goes on.
    """
    async with asyncio.timeout(120.0):
        while not await holds():
            assert not [each.result() for each in asked if each.done()], "ended before it could be hurt"
            await asyncio.sleep(0.05)


async def running(server: Server) -> float:
    """Samples that the server works on."""
    return (await asyncio.to_thread(server.metrics))["vllm:num_requests_running"]


async def works(server: Server, samples: int) -> bool:
    """Whether it works on so many or more."""
    return await running(server) >= samples


async def idles(server: Server) -> bool:
    """Whether it works on nothing."""
    return await running(server) == 0


async def test_cancelling_stops_the_server(qwen: Server) -> None:
    engine = open_engine(qwen_url(qwen))
    await engine.probe()
    sampling = Sampling(temperature=1.0, max_tokens=LONG)
    with measured(qwen) as spent:
        asked = asyncio.ensure_future(engine.generate(compose_prompt((), "Go on."), sampling, 4))
        await until(lambda: works(qwen, 4), asked)
        asked.cancel()
        await until(lambda: idles(qwen))
    assert spent.written < 4 * LONG / 2, "it wrote on"
    with pytest.raises(asyncio.CancelledError):
        await asked
    await engine.close()


async def test_a_client_that_hangs_up_stops_the_server(qwen: Server, videos: Videos, tmp_path: Path) -> None:
    settings = Settings(engine=qwen_url(qwen), video_dir=videos[0][0].parent, data_dir=tmp_path)
    async with over_socket(settings) as client:
        await until(lambda: _ready(client))
        with measured(qwen) as spent:
            asked = asyncio.ensure_future(client.post("/v1/answers", json=asking(videos[0][0], a_choice(videos), VOTE)))
            await until(lambda: works(qwen, VOTE["samples"]), asked)
            asked.cancel()
            await until(lambda: idles(qwen))
        assert spent.written < VOTE["samples"] * LONG / 2, "it wrote on"


async def test_a_prompt_too_long_is_shown_smaller_and_says_so(demo: Server, videos: Videos, tmp_path: Path) -> None:
    video, strategy = videos[0][0], {"name": "direct", "frames": 200}
    async with serving(demo, video.parent, tmp_path) as client:
        response = await client.post("/v1/answers", json=asking(video, a_choice(videos), strategy))
    assert response.status_code == 200, response.text
    report = response.json()["report"]
    assert 100 < report["frames_viewed"] < 200, "as many as the model can read, and no fewer"
    assert report["prompt_tokens"] < 2048
    assert any("frames" in each for each in report["degraded"]), report["degraded"]


async def test_runs_end_in_seconds_when_the_server_dies_and_the_next_finds_it_again(
    qwen: Server, videos: Videos, tmp_path: Path
) -> None:
    """A run that has an answer already returns that, another says clearly what happened."""
    video, question, direct = videos[0][0], a_choice(videos), {"name": "direct", "frames": 4}
    ladder = {"name": "escalate", "confidence": 1.0, "strategies": [direct, VOTE]}
    async with serving(qwen, video.parent, tmp_path, engine=qwen_url(qwen)) as client:
        with_answer = asyncio.ensure_future(client.post("/v1/answers", json=asking(video, question, ladder)))
        without = asyncio.ensure_future(client.post("/v1/answers", json=asking(video, question, VOTE)))
        await until(lambda: works(qwen, 2 * VOTE["samples"]), with_answer, without)
        await asyncio.to_thread(qwen.kill)
        async with asyncio.timeout(SECONDS):
            best, none = await with_answer, await without
            while_down = await client.post("/v1/answers", json=asking(video, question, direct))
        assert best.status_code == 200 and best.json()["report"]["stopped"] == "engine", best.text
        assert best.json()["answer"] in question.options
        assert any("model server" in each for each in best.json()["report"]["degraded"])
        for refused in (none, while_down):
            assert refused.status_code == 503 and refused.json()["error"]["code"] == "engine_failed", refused.text
            assert str(qwen.port) not in refused.text, "callers are not told where the model runs"
        await asyncio.to_thread(qwen.restart)
        after = await client.post("/v1/answers", json=asking(video, question, direct))
        assert after.status_code == 200, after.text


async def test_a_run_ends_in_seconds_when_only_the_model_dies(qwen: Server, videos: Videos, tmp_path: Path) -> None:
    """The process that answers HTTP lives on for a while. The last test: it leaves no server behind."""
    video = videos[0][0]
    async with serving(qwen, video.parent, tmp_path, engine=qwen_url(qwen)) as client:
        asked = asyncio.ensure_future(client.post("/v1/answers", json=asking(video, a_choice(videos), VOTE)))
        await until(lambda: works(qwen, VOTE["samples"]), asked)
        await asyncio.to_thread(qwen.kill_model)
        async with asyncio.timeout(SECONDS):
            ended = await asked
    assert ended.status_code == 503 and ended.json()["error"]["code"] == "engine_failed", ended.text


async def _ready(client: httpx.AsyncClient) -> bool:
    return (await client.get("/ready")).is_success
