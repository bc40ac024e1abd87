"""Callers that leave and servers that die: nothing goes on working for nobody, and nobody waits for nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
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

    async def busy() -> bool:
        return await running(qwen) == 4

    async def idle() -> bool:
        return await running(qwen) == 0

    await until(busy)
    asked.cancel()
    await until(idle, 3.0)
    assert not asked.done() or asked.cancelled()
    await engine.close()


async def test_a_client_that_hangs_up_stops_the_server(qwen: Server, films: Films, tmp_path: Path) -> None:
    settings = Settings(engine=qwen_url(qwen), video_dir=films[0][0].parent, data_dir=tmp_path)
    async with over_socket(settings) as client:
        await until(lambda: _ready(client))
        asked = asyncio.ensure_future(client.post("/v1/answers", json=long_request(films)))

        async def busy() -> bool:
            return await running(qwen) == 8

        async def idle() -> bool:
            return await running(qwen) == 0

        await until(busy)
        asked.cancel()
        await until(idle, 3.0)


async def _ready(client: httpx.AsyncClient) -> bool:
    return (await client.get("/ready")).is_success
