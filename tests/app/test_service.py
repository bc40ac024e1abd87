"""A service in front of a model server: it waits for the server, learns what it offers, and answers with it."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from agents.engines.scripted import ScriptedEngine
from app.settings import Settings
from tests.agents.engines.fake_vllm import Diary, interpreter
from tests.agents.engines.stub import Answer, Json, Stub, StubServers, models, talkative
from tests.app.conftest import body, over_asgi

pytestmark = pytest.mark.anyio


@pytest.fixture
def servers() -> Iterator[StubServers]:
    """A real server on a real port."""
    with StubServers().open() as opened:
        yield opened


async def test_the_service_is_ready_once_its_model_server_is(
    settings: Settings, video_path: Path, servers: StubServers, caplog: pytest.LogCaptureFixture
) -> None:
    up = False

    def answer(request: Json) -> Answer:
        return talkative(request) if up else Answer({"error": {"message": "loading weights"}}, status=500)

    stub = servers.add(Stub(answer, models("vllm")))
    waiting = settings.model_copy(update={"engine": f"openai:{stub.url}", "retry_seconds": 0.05})
    async with over_asgi(waiting) as client, asyncio.timeout(60):
        while (response := await client.get("/ready")).json()["error"]["code"] != "engine_unavailable":
            await asyncio.sleep(0.01)
        assert "weights" not in response.text  # what the server says is for the operator
        assert (await client.post("/v1/answers", json=body(video_path))).status_code == 503
        await asyncio.sleep(0.3)
        up = True
        while (await client.get("/ready")).status_code == 503:
            await asyncio.sleep(0.01)
        model, *_ = (await client.get("/v1/models")).json()["data"]
        assert "logprobs" in model["offers"]
        answered = await client.post("/v1/answers", json=body(video_path, strategy="chain_of_thought"))
        assert answered.status_code == 200
        assert answered.json()["report"]["model"] == model["id"]
    told = [each.getMessage() for each in caplog.records if each.levelno >= logging.ERROR]
    assert len(told) == 1  # however often it was tried
    assert "loading weights" in told[0]


async def test_while_its_model_server_is_started_again_the_service_says_so_at_once(
    settings: Settings, video_path: Path, engine: ScriptedEngine
) -> None:
    async with over_asgi(settings, engine) as client:
        assert (await client.get("/ready")).status_code == 200
        engine.problem = "It is being started again."
        for response in (await client.get("/ready"), await client.post("/v1/answers", json=body(video_path))):
            assert response.status_code == 503
            assert response.json()["error"]["message"] == engine.problem
            assert int(response.headers["retry-after"]) > 0
        assert (await client.get("/health")).status_code == 200
        engine.problem = None
        assert (await client.post("/v1/answers", json=body(video_path))).status_code == 200


async def test_a_service_whose_vllm_dies_answers_again_after_its_restart(
    settings: Settings, video_path: Path, tmp_path: Path
) -> None:
    diary = Diary(tmp_path / "diary")
    address = f"some/model?python={interpreter(tmp_path)}&diary={diary.path}&name=stub-vl&pause=0.1&loading=0.3"
    async with over_asgi(settings.model_copy(update={"engine": address})) as client, asyncio.timeout(120):

        async def until_ready() -> None:
            while (await client.get("/ready")).status_code == 503:
                await asyncio.sleep(0.01)

        await until_ready()
        assert (await client.post("/v1/answers", json=body(video_path))).status_code == 200
        os.kill(diary.pids[0], signal.SIGKILL)
        while (response := await client.get("/ready")).status_code == 200:
            await asyncio.sleep(0.01)
        assert "being started again" in response.json()["error"]["message"]
        await until_ready()
        assert (await client.post("/v1/answers", json=body(video_path))).status_code == 200
    assert len(diary.read("born")) == 2
