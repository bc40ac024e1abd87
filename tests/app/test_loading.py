"""A service in front of a model server: it waits for the server, learns what it offers, and answers with it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.settings import Settings
from tests.agents.engines.stub import Answer, House, Json, Stub, models, talkative
from tests.app.conftest import body, over_asgi

pytestmark = pytest.mark.anyio


@pytest.fixture
def house() -> Iterator[House]:
    """A real server on a real port."""
    with House().open() as opened:
        yield opened


async def test_the_service_is_ready_once_its_model_server_is(
    settings: Settings, film: Path, house: House, caplog: pytest.LogCaptureFixture
) -> None:
    up = False

    def answer(request: Json) -> Answer:
        return talkative(request) if up else Answer({"error": {"message": "loading weights"}}, status=500)

    stub = house.take_in(Stub(answer, models("vllm")))
    waiting = settings.model_copy(update={"engine": f"openai:{stub.url}", "retry_seconds": 0.05})
    async with over_asgi(waiting) as client, asyncio.timeout(60):
        while (response := await client.get("/ready")).json()["error"]["code"] != "engine_unavailable":
            await asyncio.sleep(0.01)
        assert "weights" not in response.text  # what the server says is for the operator
        assert (await client.post("/v1/answers", json=body(film))).status_code == 503
        await asyncio.sleep(0.3)
        up = True
        while (await client.get("/ready")).status_code == 503:
            await asyncio.sleep(0.01)
        (model,) = (await client.get("/v1/models")).json()["data"]
        assert "logprobs" in model["offers"]
        answered = await client.post("/v1/answers", json=body(film, strategy="chain_of_thought"))
        assert answered.status_code == 200
        assert answered.json()["report"]["model"] == model["id"]
    told = [each.getMessage() for each in caplog.records if each.levelno >= logging.ERROR]
    assert len(told) == 1  # however often it was tried
    assert "loading weights" in told[0]
