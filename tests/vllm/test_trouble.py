"""Callers that leave and servers that die: nothing goes on working for nobody, and nobody waits for nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from time import monotonic
from typing import Any

import httpx
import pytest

from agents.conversation import compose
from agents.demo.questions import DemoQuestion
from agents.engine import Sampling
from agents.engines import open_engine
from app.settings import Settings
from tests.app.conftest import over_socket
from tests.vllm.server import Server
from tests.vllm.service import asking, serving

pytestmark = [pytest.mark.vllm, pytest.mark.anyio]

LONG = 3000  # tokens: many seconds of work for a model that hardly ever ends by itself
SECONDS = 5.0  # in which a caller hears that the server died
Films = list[tuple[Path, list[DemoQuestion]]]


def qwen_url(server: Server) -> str:
    return f"openai:{server.url}?side=64&packing=images"


def long_request(films: Films, **fields: Any) -> dict[str, Any]:
    """A vote that takes many seconds, after a direct answer."""
    film, questions = films[0]
    vote = {"name": "self_consistency", "samples": 8, "frames": 4, "max_tokens": LONG, "diversity": "temperature"}
    return asking(film, next(each for each in questions if each.options), {**vote, "stop": "fixed"}, **fields)


async def until(holds: Callable[[], Awaitable[bool]], seconds: float = 20.0) -> None:
    """Wait until it holds. Raises TimeoutError."""
    async with asyncio.timeout(seconds):
        while not await holds():
            await asyncio.sleep(0.05)


async def running(server: Server) -> float:
    return (await asyncio.to_thread(server.metrics))["vllm:num_requests_running"]


async def test_cancelling_stops_the_server(qwen: Server) -> None:
    engine = open_engine(qwen_url(qwen))
    await engine.probe()
    asked = asyncio.ensure_future(engine.generate(compose((), "Go on."), Sampling(temperature=1.0, max_tokens=LONG), 4))
    await until(lambda: _writes(qwen, 4))
    asked.cancel()
    await until(lambda: _idle(qwen), SECONDS)
    with pytest.raises(asyncio.CancelledError):
        await asked
    await engine.close()


async def test_a_client_that_hangs_up_stops_the_server(qwen: Server, films: Films, tmp_path: Path) -> None:
    settings = Settings(engine=qwen_url(qwen), video_dir=films[0][0].parent, data_dir=tmp_path)
    async with over_socket(settings) as client:
        await until(lambda: _ready(client))
        asked = asyncio.ensure_future(client.post("/v1/answers", json=long_request(films)))
        await until(lambda: _writes(qwen, 8))
        asked.cancel()
        await until(lambda: _idle(qwen), SECONDS)


@pytest.mark.parametrize("killed", ["server", "model"])
async def test_a_run_ends_with_its_best_answer_when_the_server_dies(
    killed: str, qwen: Server, films: Films, tmp_path: Path
) -> None:
    """First a direct answer, which stays; the vote after it is cut off. The next question finds the server again."""
    film, questions = films[0]
    question = next(each for each in questions if each.options)
    vote = {"name": "self_consistency", "samples": 8, "frames": 4, "max_tokens": LONG, "diversity": "temperature"}
    ladder = {"name": "escalate", "confidence": 1.0, "strategies": [{"name": "direct", "frames": 4}, vote]}
    async with _serving(qwen, films, tmp_path) as client:
        asked = asyncio.ensure_future(client.post("/v1/answers", json=asking(film, question, ladder)))
        await until(lambda: _writes(qwen, 5))
        ended = await _after_death(asked, qwen, killed)
        assert ended.status_code == 200, ended.text
        assert ended.json()["answer"] in question.options
        assert ended.json()["report"]["stopped"] == "engine"
        assert any("model server" in each for each in ended.json()["report"]["degraded"])
        await asyncio.to_thread(qwen.restart)
        after = await client.post("/v1/answers", json=asking(film, question, {"name": "direct", "frames": 4}))
        assert after.status_code == 200, after.text


async def test_a_run_without_an_answer_says_clearly_that_the_server_died(
    qwen: Server, films: Films, tmp_path: Path
) -> None:
    async with _serving(qwen, films, tmp_path) as client:
        asked = asyncio.ensure_future(client.post("/v1/answers", json=long_request(films)))
        await until(lambda: _writes(qwen, 8))
        ended = await _after_death(asked, qwen, "server")
        assert ended.status_code == 503
        assert ended.json()["error"]["code"] == "engine_failed"
        assert str(qwen.port) not in ended.text, "callers are not told where the model runs"
        while_down = await client.post("/v1/answers", json=long_request(films))
        assert while_down.status_code == 503 and while_down.elapsed.total_seconds() < SECONDS


async def test_a_prompt_too_long_is_shown_smaller_and_says_so(demo: Server, films: Films, tmp_path: Path) -> None:
    film, questions = films[0]
    question = next(each for each in questions if each.options)
    async with serving(demo, film.parent, tmp_path) as client:
        response = await client.post("/v1/answers", json=asking(film, question, {"name": "direct", "frames": 200}))
    assert response.status_code == 200, response.text
    report = response.json()["report"]
    assert 100 < report["frames_viewed"] < 200, "as many as the model can read, and no fewer"
    assert report["prompt_tokens"] < 2048
    assert any("frames" in each for each in report["degraded"]), report["degraded"]


async def _after_death(asked: asyncio.Future[httpx.Response], server: Server, killed: str) -> httpx.Response:
    began = monotonic()
    await asyncio.to_thread(server.kill if killed == "server" else server.kill_model)
    response = await asked
    assert monotonic() - began < SECONDS
    return response


async def _writes(server: Server, samples: int) -> bool:
    return await running(server) >= samples


async def _idle(server: Server) -> bool:
    return await running(server) == 0


async def _ready(client: httpx.AsyncClient) -> bool:
    return (await client.get("/ready")).is_success


def _serving(server: Server, films: Films, data: Path) -> AbstractAsyncContextManager[httpx.AsyncClient]:
    return serving(server, films[0][0].parent, data, engine=qwen_url(server))
