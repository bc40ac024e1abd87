"""The engine dies, or the service does: what was acknowledged is there, what was not is gone, and work goes on."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import count
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.faults.asking import HALF_AN_UPLOAD, ask, padded, question, upload, video_bytes
from tests.model_server import Model, modelling
from tests.service import descendants, serving, until

pytestmark = [pytest.mark.faults, pytest.mark.anyio]


@pytest.fixture
def model() -> Iterator[Model]:
    """A model server that answers at once."""
    with modelling() as running:
        yield running


async def awake(model: Model, count: int = 1) -> None:
    """Return when the model works on so many questions."""
    async with asyncio.timeout(20):
        while await asyncio.to_thread(lambda: model.active) < count:
            await asyncio.sleep(0.05)


async def test_the_engine_dies_in_the_middle_of_a_run(model: Model, tmp_path: Path) -> None:
    with serving(tmp_path, engine=model.engine, retry_seconds=0.5) as service:
        async with service.client() as client:
            file = (await upload(client, video_bytes(tmp_path))).json()["id"]
            model.pause(30)
            running = asyncio.ensure_future(ask(client, file))
            await awake(model)
            began = time.monotonic()
            model.kill()
            failed = await running
            assert (failed.status_code, failed.json()["error"]["type"]) == (503, "engine_error"), failed.text
            assert time.monotonic() - began < 15
            again = await ask(client, file)
            assert again.status_code == 503
            assert (await client.get("/health")).status_code == 200
            model.start()
            async with asyncio.timeout(30):
                while (await ask(client, file)).status_code != 200:
                    await asyncio.sleep(0.2)
        assert service.complaints() == []


async def test_an_answer_that_was_reached_survives_the_engine(model: Model, tmp_path: Path) -> None:
    with serving(tmp_path, engine=model.engine) as service:
        async with service.client() as client:
            file = (await upload(client, video_bytes(tmp_path))).json()["id"]
            model.pause(1)
            asked = question(
                file, strategy={"name": "until_confident", "threshold": 0.99, "where": "elsewhere"}, stream=True
            )
            events: list[str] = []
            async with client.stream("POST", "/v1/answers", json=asked) as sent:
                assert sent.status_code == 200, await sent.aread()
                async for line in sent.aiter_lines():
                    name, _, value = line.partition(": ")
                    events += [value] if name == "event" else []
                    if (name, value) == ("event", "proposed") and events.count("proposed") == 1:
                        model.kill()
                    if name == "data":
                        last = json.loads(value)
            assert events[-1] == "answer", last
            assert (last["answer"], last["report"]["stopped"]) == ("this", "engine")
        assert service.complaints() == []


async def test_the_service_dies_in_the_middle_of_a_run(model: Model, tmp_path: Path) -> None:
    with serving(tmp_path, engine=model.engine) as service:
        async with service.client() as client:
            file = (await upload(client, video_bytes(tmp_path))).json()["id"]
            done = await ask(client, file)
            model.pause(60)
            begun = await ask(client, file, background=True)
            assert begun.status_code == 202, begun.text
            await awake(model)
        mine = descendants(service.pid)
        service.kill()
        until(lambda: not any(Path(f"/proc/{each}").exists() for each in mine), 5)
        until(lambda: model.active == 0, 5)
        model.pause(0)
        service.start()
        async with service.client() as client:
            finished = (await client.get(f"/v1/runs/{done.json()['id']}")).json()
            assert finished["status"] == "completed"
            assert finished["response"] == done.json()
            run = f"/v1/runs/{begun.json()['id']}"
            broken = (await client.get(run)).json()
            assert (broken["status"], broken["resumable"]) == ("interrupted", True), broken
            resumed = await client.post(f"{run}/resume")
            assert resumed.status_code == 202, resumed.text
            async with asyncio.timeout(30):
                while (await client.get(run)).json()["status"] != "completed":
                    await asyncio.sleep(0.1)
            assert (await ask(client, file)).status_code == 200
        assert service.complaints() == []


async def test_the_service_dies_in_the_middle_of_uploads(tmp_path: Path) -> None:
    content = video_bytes(tmp_path)
    with serving(tmp_path) as service:
        async with service.client() as client:
            kept = [(await upload(client, padded(content, number))).json()["id"] for number in range(5)]
        with ExitStack() as stack:
            for _ in range(10):
                one = stack.enter_context(socket.create_connection(("127.0.0.1", service.port)))
                one.sendall(HALF_AN_UPLOAD)
            until(lambda: len(list(service.data.rglob("*.part"))) == 10, 10)
            service.kill()
        service.start()
        until(lambda: not list(service.data.rglob("*.part")), 10)
        async with service.client() as client:
            listed = (await client.get("/v1/files")).json()["data"]
            assert {each["id"] for each in listed} == set(kept)
            for number, file in enumerate(kept):
                assert (await client.get(f"/v1/files/{file}/content")).content == padded(content, number)
                assert (await ask(client, file)).status_code == 200
        assert service.complaints() == []


async def test_what_was_acknowledged_survives_a_death_among_acknowledgements(tmp_path: Path) -> None:
    """Uploads and answers come and go until the service is killed, wherever each of them is then.

    Who may ask again for an answer is told it when it is on the disk; a plain answer is told at once, and not kept.
    """
    content = video_bytes(tmp_path)
    files: dict[str, int] = {}
    answers: dict[str, Any] = {}

    async def work(client: httpx.AsyncClient, first: int) -> None:
        for number in count(first, 8):
            file = (await upload(client, padded(content, number, 200_000))).json()["id"]
            files[file] = number
            headers = {"Idempotency-Key": file}
            answer = (await client.post("/v1/answers", json=question(file), headers=headers)).json()
            answers[answer["id"]] = answer

    with serving(tmp_path) as service:
        async with service.client() as client:
            working = [asyncio.ensure_future(work(client, first)) for first in range(8)]
            async with asyncio.timeout(30):
                while len(answers) < 20:
                    await asyncio.sleep(0.01)
            service.kill()
            ends = await asyncio.gather(*working, return_exceptions=True)
            assert all(isinstance(end, httpx.TransportError) for end in ends), ends
        service.start()
        async with service.client() as client:
            for file, number in files.items():
                assert (await client.get(f"/v1/files/{file}/content")).content == padded(content, number, 200_000)
            for run, answer in answers.items():
                assert (await client.get(f"/v1/runs/{run}")).json()["response"] == answer
        assert not list(service.data.rglob("*.part"))
        assert service.complaints() == []
