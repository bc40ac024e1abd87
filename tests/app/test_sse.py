"""Streams, and clients that leave: over a real socket, because that is where they differ."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from agents.engines.base import EngineError, Generation, OnText, Prompt, Sampling
from agents.engines.scripted import ScriptedEngine, ScriptLine
from app.settings import Settings
from tests.app.conftest import always, body, over_socket
from tests.waiting import until

pytestmark = pytest.mark.anyio
TWO_STAGES = {"name": "escalate", "strategies": ["direct", "direct"]}


@dataclass
class HeldEngine(ScriptedEngine):
    """A scripted engine that answers once it is released."""

    release: asyncio.Event = field(default_factory=asyncio.Event)

    async def generate(self, prompt: Prompt, sampling: Sampling, n: int, on_text: OnText | None = None) -> Generation:
        generation = await super().generate(prompt, sampling, n, on_text)
        await self.release.wait()
        return generation


async def events(response: httpx.Response) -> AsyncIterator[tuple[str, dict[str, Any]]]:
    """The named events of a stream; comments are named by a colon."""
    name = ""
    async for line in response.aiter_lines():
        key, _, value = line.partition(": ")
        if key == "event":
            name = value
        elif key == "data":
            yield name, json.loads(value)
        elif line.startswith(":"):
            yield ":", {}


async def test_what_happens_is_told_in_order_and_the_answer_comes_last(
    settings: Settings, engine: ScriptedEngine, video_path: Path
) -> None:
    request = body(video_path, stream=True, strategy=TWO_STAGES)
    async with over_socket(settings, engine) as client:
        async with client.stream("POST", "/v1/answers", json=request) as response:
            told = [each async for each in events(response)]
            assert response.headers["content-type"].startswith("text/event-stream")
        plain = (await client.post("/v1/answers", json={**request, "stream": False})).json()
    names = [name for name, _ in told]
    assert names == ["began", "looked", "asked", "proposed", "ended", "stopped", "answer"]
    assert all(data["event"] == name for name, data in told[:-1])
    last = told[-1][1]
    for each in (last, plain):
        del each["id"], each["report"]["seconds"]
    assert last == plain


async def test_events_arrive_while_the_model_still_works(settings: Settings, video_path: Path) -> None:
    held = HeldEngine(always("A"))
    async with (
        over_socket(settings, held) as client,
        client.stream("POST", "/v1/answers", json=body(video_path, stream=True)) as response,
    ):
        told = events(response)
        name, data = await anext(told)
        assert (name, len(data["times"])) == ("looked", 32)
        held.release.set()
        assert [name async for name, _ in told][-1] == "answer"


async def test_a_failure_before_the_first_event_keeps_its_status(
    settings: Settings, engine: ScriptedEngine, video_path: Path
) -> None:
    async with over_socket(settings, engine) as client:
        response = await client.post("/v1/answers", json=body(video_path, stream=True, start=100))
    assert response.status_code == 400
    assert response.json()["error"]["param"] == "start"


def broken(_prompt: Prompt, _sampling: Sampling, _n: int) -> list[ScriptLine]:
    """An engine that goes down."""
    raise EngineError("the model server is down")


async def test_a_failure_in_mid_stream_is_an_event(settings: Settings, video_path: Path) -> None:
    async with (
        over_socket(settings, ScriptedEngine(broken)) as client,
        client.stream("POST", "/v1/answers", json=body(video_path, stream=True)) as response,
    ):
        told = [each async for each in events(response)]
    assert response.status_code == 200
    assert [name for name, _ in told] == ["looked", "error"]
    assert told[-1][1]["error"] == {
        "message": "the model server is down",
        "type": "engine_error",
        "param": None,
        "code": "engine_failed",
    }


async def test_a_quiet_stream_is_kept_open_by_comments(settings: Settings, video_path: Path) -> None:
    held = HeldEngine(always("A"))
    async with (
        over_socket(settings.model_copy(update={"ping_seconds": 0.05}), held) as client,
        client.stream("POST", "/v1/answers", json=body(video_path, stream=True)) as response,
    ):
        names = []
        async for name, _ in events(response):
            names.append(name)
            if names.count(":") == 2:
                held.release.set()
    assert names[:3] == ["looked", ":", ":"]
    assert names[-1] == "answer"


@pytest.mark.parametrize("stream", [True, False])
async def test_a_client_that_leaves_stops_the_engine_and_frees_its_place(
    settings: Settings, video_path: Path, stream: bool
) -> None:
    engine = ScriptedEngine(always("A"), pause=600)
    async with over_socket(settings.model_copy(update={"max_runs": 1}), engine) as client:
        leaving = asyncio.ensure_future(client.post("/v1/answers", json=body(video_path, stream=stream)))
        await until(lambda: len(engine.calls) == 1)
        leaving.cancel()
        await until(lambda: engine.cancelled == 1)
        engine.pause = 0
        assert (await client.post("/v1/answers", json=body(video_path))).status_code == 200


@pytest.mark.parametrize("stream", [True, False])
async def test_who_finds_all_places_taken_is_told_when_to_come_again(
    settings: Settings, video_path: Path, stream: bool
) -> None:
    held = HeldEngine(always("A"))
    async with over_socket(settings.model_copy(update={"max_runs": 2, "max_waiting": 0}), held) as client:
        two = [asyncio.ensure_future(client.post("/v1/answers", json=body(video_path))) for _ in range(2)]
        await until(lambda: len(held.calls) == 2)
        third = await client.post("/v1/answers", json=body(video_path, stream=stream))
        assert third.status_code == 429
        assert int(third.headers["retry-after"]) > 0
        assert third.json()["error"]["code"] == "too_many_runs"
        held.release.set()
        assert [response.status_code for response in await asyncio.gather(*two)] == [200, 200]
        assert (await client.post("/v1/answers", json=body(video_path))).status_code == 200


async def test_what_the_model_writes_is_told_without_numbers_and_not_kept(settings: Settings, video_path: Path) -> None:
    engine = ScriptedEngine(lambda _p, _s, n: ["I see red.\nAnswer: A"] * n)
    request = body(video_path, stream=True, strategy="chain_of_thought")
    async with over_socket(settings, engine) as client:
        text = (await client.post("/v1/answers", json=request)).text
        (run,) = (await client.get("/v1/runs")).json()["data"]
        past = (await client.get(f"/v1/runs/{run['id']}/events")).text
    told = [dict(line.split(": ", 1) for line in each.splitlines()) for each in text.strip().split("\n\n")]
    deltas = [json.loads(each["data"]) for each in told if each["event"] == "delta"]
    said = "".join(each["text"] for each in deltas)
    assert said and "I see red.\nAnswer: A".startswith(said), "the event says the rest"
    assert {each["call"] for each in deltas} == {1}
    kept = [each for each in told if each["event"] != "delta"]
    assert [int(each["id"]) for each in kept] == list(range(1, len(kept) + 1))
    assert not any("id" in each for each in told if each["event"] == "delta")
    assert [line for line in past.splitlines() if line.startswith("id")] == [f"id: {each['id']}" for each in kept]
