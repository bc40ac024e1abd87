"""The same request, sent again, is done once; and what nobody waits for any more is not done at all."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from agents.engines.scripted import ScriptedEngine
from app.settings import Settings
from tests.app.conftest import always, body, over_asgi, over_socket
from tests.app.test_sse import HeldEngine
from tests.waiting import until

pytestmark = pytest.mark.anyio
KEY = {"idempotency-key": "order-7"}


def retried(count: int, patience: float | None = None) -> dict[str, str]:
    """The headers of OpenAI's clients."""
    waits = {} if patience is None else {"x-stainless-read-timeout": str(patience)}
    return {"x-stainless-retry-count": str(count), **waits}


async def test_the_same_key_and_body_are_the_same_run(
    settings: Settings, engine: ScriptedEngine, video_path: Path
) -> None:
    async with over_asgi(settings, engine) as client:
        first = await client.post("/v1/answers", json=body(video_path), headers=KEY)
        calls = len(engine.calls)
        second = await client.post("/v1/answers", json=body(video_path), headers=KEY)
        other = await client.post("/v1/answers", json=body(video_path), headers={"idempotency-key": "order-8"})
    assert first.json() == second.json()
    assert first.json()["id"] != other.json()["id"]
    assert len(engine.calls) == 2 * calls


async def test_a_key_outlives_the_service(settings: Settings, engine: ScriptedEngine, video_path: Path) -> None:
    request = body(video_path, stream=True)
    async with over_asgi(settings, engine) as client:
        first = (await client.post("/v1/answers", json=request, headers=KEY)).text
    calls = len(engine.calls)
    async with over_asgi(settings, engine) as client:
        second = (await client.post("/v1/answers", json=request, headers=KEY)).text
    assert first == second
    assert len(engine.calls) == calls


async def test_a_key_under_way_is_joined(settings: Settings, video_path: Path) -> None:
    held = HeldEngine(always("A"))
    request = body(video_path, stream=True)
    async with over_socket(settings, held) as client:
        first = asyncio.ensure_future(client.post("/v1/answers", json=request, headers=KEY))
        await until(lambda: len(held.calls) == 1)
        async with client.stream("POST", "/v1/answers", json=request, headers=KEY) as second:
            held.release.set()
            assert (await second.aread()).decode() == (await first).text
    assert len(held.calls) == 1


@pytest.mark.parametrize("changed", [{"question": "Which shape is seen?"}, {"stream": True}])
async def test_a_key_with_another_body_is_a_clash(
    settings: Settings, engine: ScriptedEngine, video_path: Path, changed: dict[str, Any]
) -> None:
    async with over_asgi(settings, engine) as client:
        await client.post("/v1/answers", json=body(video_path), headers=KEY)
        clash = await client.post("/v1/answers", json=body(video_path, **changed), headers=KEY)
    assert (clash.status_code, clash.json()["error"]["code"]) == (409, "idempotency_key_reused")
    assert clash.headers["x-should-retry"] == "false"


async def test_a_key_whose_run_failed_may_try_again(settings: Settings, video_path: Path) -> None:
    engine = ScriptedEngine([{"A": 0.9, "B": 0.1, "C": 0.0, "D": 0.0}])
    await_first = ScriptedEngine([])
    async with over_asgi(settings, await_first) as client:
        failed = await client.post("/v1/answers", json=body(video_path), headers=KEY)
    async with over_asgi(settings, engine) as client:
        again = await client.post("/v1/answers", json=body(video_path), headers=KEY)
        (run,) = (await client.get("/v1/runs")).json()["data"]
    assert (failed.status_code, again.status_code) == (503, 200)
    assert (again.json()["id"], run["attempts"]) == (run["id"], 2)


async def test_a_key_is_tried_again_by_one_at_a_time(settings: Settings, video_path: Path) -> None:
    async with over_asgi(settings, ScriptedEngine([])) as client:
        await client.post("/v1/answers", json=body(video_path), headers=KEY)
    held = HeldEngine(always("A"))
    async with over_socket(settings, held) as client:
        many = [
            asyncio.ensure_future(client.post("/v1/answers", json=body(video_path), headers=KEY)) for _ in range(12)
        ]
        await until(lambda: len(held.calls) == 1)
        await asyncio.sleep(0.2)
        held.release.set()
        ids = {response.json()["id"] for response in await asyncio.gather(*many)}
    assert (len(ids), len(held.calls)) == (1, 1)


@pytest.mark.parametrize("key", ["", "a b", "x" * 256])
async def test_what_is_no_key(settings: Settings, engine: ScriptedEngine, video_path: Path, key: str) -> None:
    async with over_asgi(settings, engine) as client:
        response = await client.post("/v1/answers", json=body(video_path), headers={"idempotency-key": key})
    assert (response.status_code, response.json()["error"]["param"]) == (400, "header.idempotency-key")


async def test_a_retry_joins_what_it_retries(settings: Settings, video_path: Path) -> None:
    held = HeldEngine(always("A"))
    request = body(video_path, stream=True)
    async with over_socket(settings, held) as client:
        first = asyncio.ensure_future(client.post("/v1/answers", json=request, headers=retried(0)))
        await until(lambda: len(held.calls) == 1)
        async with client.stream("POST", "/v1/answers", json=request, headers=retried(1)) as retry:
            first.cancel()  # the client gave up on the first; somebody still waits
            await asyncio.sleep(0.1)
            held.release.set()
            text = (await retry.aread()).decode()
    assert text.count("event: looked") == text.count("event: answer") == 1
    assert len(held.calls) == 1


async def test_the_same_question_asked_twice_is_two_runs(
    settings: Settings, engine: ScriptedEngine, video_path: Path
) -> None:
    async with over_asgi(settings, engine) as client:
        ids = {
            (await client.post("/v1/answers", json=body(video_path), headers=retried(0))).json()["id"] for _ in range(2)
        }
    assert len(ids) == 2


async def test_a_retry_of_another_body_is_another_run(
    settings: Settings, engine: ScriptedEngine, video_path: Path
) -> None:
    async with over_asgi(settings, engine) as client:
        first = await client.post("/v1/answers", json=body(video_path), headers=retried(0))
        other = await client.post("/v1/answers", json=body(video_path, seed=1), headers=retried(1))
        same = await client.post("/v1/answers", json=body(video_path), headers=retried(1))
    assert first.json()["id"] != other.json()["id"]
    assert first.json() == same.json(), "it was over when the retry came, but only just"


async def test_a_client_that_timed_out_finds_its_run_again(settings: Settings, video_path: Path) -> None:
    held = HeldEngine(always("A"))
    request = body(video_path, stream=True)
    async with over_socket(settings, held) as client:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(client.post("/v1/answers", json=request, headers=retried(0, 1.0)), 1.4)
        retry = asyncio.ensure_future(client.post("/v1/answers", json=request, headers=retried(1, 9)))
        await asyncio.sleep(0.1)
        held.release.set()
        assert "event: answer" in (await retry).text
    assert (len(held.calls), held.cancelled) == (1, 0)


async def test_a_client_that_only_left_does_not(settings: Settings, video_path: Path) -> None:
    slow = ScriptedEngine(always("A"), pause=600)
    async with over_socket(settings, slow) as client:
        first = asyncio.ensure_future(client.post("/v1/answers", json=body(video_path), headers=retried(0, 60)))
        await until(lambda: len(slow.calls) == 1)
        first.cancel()
        await until(lambda: slow.cancelled == 1)
        slow.pause = 0
        again = await client.post("/v1/answers", json=body(video_path), headers=retried(1, 60))
    assert again.status_code == 200


async def test_a_run_that_no_retry_comes_for_ends(settings: Settings, video_path: Path) -> None:
    slow = ScriptedEngine(always("A"), pause=600)
    brief = settings.model_copy(update={"retry_grace_seconds": 0.5})
    request = body(video_path, stream=True)
    async with over_socket(brief, slow) as client:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(client.post("/v1/answers", json=request, headers=retried(0, 1.0)), 1.4)
        await asyncio.sleep(0.1)
        assert slow.cancelled == 0
        await until(lambda: slow.cancelled == 1)


async def test_the_best_answer_so_far_comes_before_the_client_gives_up(settings: Settings, video_path: Path) -> None:
    slow = ScriptedEngine(always("A"), pause=30)
    async with over_asgi(settings, slow) as client:
        response = await client.post("/v1/answers", json=body(video_path), headers=retried(0, 0.4))
    report = response.json()["report"]
    assert (response.status_code, report["stopped"]) == (200, "budget")
    assert report["seconds"]["total"] < 5


async def test_a_quiet_stream_pings_before_the_client_gives_up(settings: Settings, video_path: Path) -> None:
    held = HeldEngine(always("A"))
    async with over_socket(settings.model_copy(update={"ping_seconds": 600}), held) as client:
        request = client.post("/v1/answers", json=body(video_path, stream=True), headers=retried(0, 1))
        asking = asyncio.ensure_future(request)
        await asyncio.sleep(1.5)
        held.release.set()
        assert ": ping" in (await asking).text
