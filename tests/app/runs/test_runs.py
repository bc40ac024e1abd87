"""Every answer is a run: shown, listed, followed, cancelled, resumed, and there again after a restart."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import select

from agents.engines.scripted import ScriptedEngine
from app.db.session import Database
from app.db.tables import RunRecord
from app.settings import Settings
from tests.app.chat.scene import CHOICE, chat, shown
from tests.app.conftest import always, body, over_asgi, over_socket
from tests.app.test_sse import HeldEngine, events
from tests.waiting import until

pytestmark = pytest.mark.anyio


async def done(client: httpx.AsyncClient, run_id: str) -> dict[str, Any]:
    """The run once it is over."""
    async with asyncio.timeout(30):
        while True:
            run: dict[str, Any] = (await client.get(f"/v1/runs/{run_id}")).json()
            if run["status"] not in ("queued", "running"):
                return run
            await asyncio.sleep(0.01)


async def test_an_answer_can_be_read_again_with_all_that_led_to_it(
    settings: Settings, engine: ScriptedEngine, video_path: Path
) -> None:
    async with over_asgi(settings, engine) as client:
        response = await client.post("/v1/answers", json=body(video_path, strategy="direct"))
        run = (await client.get(f"/v1/runs/{response.headers['x-run-id']}")).json()
    assert response.json()["id"] == run["id"] == response.headers["x-run-id"]
    assert run["response"] == response.json()
    assert run["request"]["question"] == body(video_path)["question"]
    assert [each["event"]["event"] for each in run["events"]] == ["looked", "asked", "proposed", "stopped"]
    assert [each["seq"] for each in run["events"]] == [1, 2, 3, 4]
    report = run["response"]["report"]
    assert run["tokens"] == report["prompt_tokens"] + report["completion_tokens"]
    assert run["created_at"] <= run["started_at"] <= run["finished_at"]
    assert {
        name: run[name] for name in ("object", "status", "endpoint", "model", "attempts", "error", "resumable")
    } == {
        "object": "run",
        "status": "completed",
        "endpoint": "/v1/answers",
        "model": "scripted",
        "attempts": 1,
        "error": None,
        "resumable": False,
    }


async def test_only_what_somebody_may_come_back_for_is_written_down_before_it_is_told(
    settings: Settings, engine: ScriptedEngine, video_path: Path
) -> None:
    """A plain answer waits for no disk. It is written down all the same, and read from there at once."""
    patient = settings.model_copy(update={"persist_seconds": 600})
    async with over_asgi(patient, engine) as client:
        plain = (await client.post("/v1/answers", json=body(video_path))).json()["id"]
        assert recorded(settings) == {}
        named = await client.post("/v1/answers", json=body(video_path), headers={"idempotency-key": "k"})
        assert recorded(settings) == {plain: "completed", named.json()["id"]: "completed"}, "in the order of the runs"
        another = (await client.post("/v1/answers", json=body(video_path))).json()["id"]
        assert another not in recorded(settings)
        assert (await client.get(f"/v1/runs/{another}")).json()["status"] == "completed"
        last = (await client.post("/v1/answers", json=body(video_path))).json()["id"]
    assert recorded(settings)[last] == "completed", "nothing is lost when the service stops"


def recorded(settings: Settings) -> dict[str, str]:
    """The runs in the database and what they came to, whatever a service keeps in mind."""
    records = Database(settings.records_url)
    records.open()
    try:
        return records.read_sync(lambda session: {run.id: run.status for run in session.scalars(select(RunRecord))})
    finally:
        records.close()


async def test_a_completion_is_a_run_whose_media_are_not_shown(settings: Settings, engine: ScriptedEngine) -> None:
    request = chat(*shown(*range(20)), CHOICE, n=2, secondlook={"strategy": "direct"})
    async with over_asgi(settings, engine) as client:
        response = await client.post("/v1/chat/completions", json=request)
        run = (await client.get(f"/v1/runs/{response.headers['x-run-id']}")).json()
    assert run["response"] == response.json()
    urls = [part["image_url"]["url"] for part in run["request"]["messages"][0]["content"] if "image_url" in part]
    assert len(urls) == 20
    assert all(url.startswith("data:image/png;base64,") for url in urls)
    assert {each["choice"] for each in run["events"]} == {0, 1}


async def test_a_background_run_is_named_at_once_and_answers_later(settings: Settings, video_path: Path) -> None:
    held = HeldEngine(always("A"))
    async with over_asgi(settings, held) as client:
        response = await client.post("/v1/answers", json=body(video_path, background=True))
        assert response.status_code == 202
        started = response.json()
        assert started["status"] in ("queued", "running")
        assert (started["background"], started["response"], started["finished_at"]) == (True, None, None)
        held.release.set()
        run = await done(client, started["id"])
    assert (run["status"], run["response"]["answer"]) == ("completed", "red")


async def test_background_runs_wait_as_long_as_it_takes(settings: Settings, video_path: Path) -> None:
    held = HeldEngine(always("A"))
    tight = settings.model_copy(update={"max_runs": 1, "max_wait_seconds": 0.0})
    async with over_asgi(tight, held) as client:
        first, second = [
            (await client.post("/v1/answers", json=body(video_path, background=True))).json() for _ in range(2)
        ]
        assert (await client.get(f"/v1/runs/{second['id']}")).json()["status"] == "queued"
        assert (await client.post("/v1/answers", json=body(video_path))).status_code == 429
        held.release.set()
        assert {(await done(client, each["id"]))["status"] for each in (first, second)} == {"completed"}


async def test_a_background_run_that_cannot_be_queued_is_no_run(settings: Settings, video_path: Path) -> None:
    held = HeldEngine(always("A"))
    full = settings.model_copy(update={"max_runs": 1, "max_waiting": 0})
    async with over_asgi(full, held) as client:
        first = (await client.post("/v1/answers", json=body(video_path, background=True))).json()
        refused = await client.post("/v1/answers", json=body(video_path, background=True))
        assert refused.status_code == 429
        assert int(refused.headers["retry-after-ms"]) == 1000 * int(refused.headers["retry-after"])
        held.release.set()
        await done(client, first["id"])
        listed = (await client.get("/v1/runs")).json()["data"]
    assert [run["id"] for run in listed] == [first["id"]]


async def test_a_failed_run_says_why(settings: Settings, video_path: Path) -> None:
    async with over_asgi(settings, ScriptedEngine([])) as client:
        response = await client.post("/v1/answers", json=body(video_path))
        run = (await client.get("/v1/runs")).json()["data"][0]
        whole = (await client.get(f"/v1/runs/{run['id']}")).json()
    assert response.status_code == 503
    assert (whole["status"], whole["error"], whole["response"]) == ("failed", response.json()["error"], None)
    assert whole["resumable"]


async def test_runs_are_listed_page_by_page(settings: Settings, engine: ScriptedEngine, video_path: Path) -> None:
    async with over_asgi(settings, engine) as client:
        made = [(await client.post("/v1/answers", json=body(video_path))).json()["id"] for _ in range(5)]
        for order, expected in (("desc", made[::-1]), ("asc", made)):
            found, after = [], None
            while True:
                query: dict[str, str | int] = {"limit": 2, "order": order, **({"after": after} if after else {})}
                page = (await client.get("/v1/runs", params=query)).json()
                found += [run["id"] for run in page["data"]]
                assert (page["first_id"], page["last_id"]) == (page["data"][0]["id"], page["data"][-1]["id"])
                after = page["last_id"]
                if not page["has_more"]:
                    break
            assert found == expected
        empty = (await client.get("/v1/runs", params={"status": "failed"})).json()
    assert empty == {"object": "list", "data": [], "first_id": None, "last_id": None, "has_more": False}


@pytest.mark.parametrize("query", [{"limit": 0}, {"limit": 101}, {"order": "up"}, {"status": "asleep"}])
async def test_a_page_that_makes_no_sense(settings: Settings, engine: ScriptedEngine, query: dict[str, Any]) -> None:
    async with over_asgi(settings, engine) as client:
        response = await client.get("/v1/runs", params=query)
    assert (response.status_code, response.json()["error"]["param"]) == (400, f"query.{next(iter(query))}")


@pytest.mark.parametrize("stream", [True, False])
async def test_a_run_can_be_cancelled(settings: Settings, video_path: Path, stream: bool) -> None:
    slow = ScriptedEngine(always("A"), pause=600)
    async with over_socket(settings, slow) as client:
        waiting = asyncio.ensure_future(client.post("/v1/answers", json=body(video_path, stream=stream)))
        await until(lambda: len(slow.calls) == 1)
        (run,) = (await client.get("/v1/runs", params={"status": "running"})).json()["data"]
        cancelled = await client.post(f"/v1/runs/{run['id']}/cancel")
        assert (cancelled.status_code, cancelled.json()["status"]) == (200, "cancelled")
        assert cancelled.json()["error"]["code"] == "run_cancelled"
        assert slow.cancelled == 1
        response = await waiting
        again = await client.post(f"/v1/runs/{run['id']}/cancel")
    assert again.json() == cancelled.json(), "cancelling twice changes nothing"
    assert "run_cancelled" in response.text
    if not stream:
        assert (response.status_code, response.headers["x-should-retry"]) == (409, "false")


async def test_a_finished_run_stays_as_it_is(settings: Settings, engine: ScriptedEngine, video_path: Path) -> None:
    async with over_asgi(settings, engine) as client:
        run_id = (await client.post("/v1/answers", json=body(video_path))).json()["id"]
        assert (await client.post(f"/v1/runs/{run_id}/cancel")).json()["status"] == "completed"
        refused = await client.post(f"/v1/runs/{run_id}/resume")
    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "not_resumable")
    assert refused.headers["x-should-retry"] == "false"


@pytest.mark.parametrize(
    ("method", "path"), [("GET", ""), ("GET", "/events"), ("POST", "/cancel"), ("POST", "/resume")]
)
async def test_what_is_no_run(settings: Settings, engine: ScriptedEngine, method: str, path: str) -> None:
    async with over_asgi(settings, engine) as client:
        response = await client.request(method, f"/v1/runs/run_none{path}")
        page = await client.get("/v1/runs", params={"after": "run_none"})
    assert (response.status_code, response.json()["error"]["code"]) == (404, "not_found")
    assert page.status_code == 404


async def test_runs_survive_a_restart(settings: Settings, video_path: Path) -> None:
    async with over_asgi(settings, ScriptedEngine(always("A"))) as client:
        finished = (await client.post("/v1/answers", json=body(video_path))).json()
    hurried = settings.model_copy(update={"drain_seconds": 0})
    slow = ScriptedEngine(always("A"), pause=600)
    async with over_asgi(hurried, slow) as client:
        unfinished = (await client.post("/v1/answers", json=body(video_path, background=True, seed=11))).json()["id"]
        await until(lambda: len(slow.calls) == 1)
    engine = ScriptedEngine(always("B"))
    async with over_asgi(settings, engine) as client:
        assert (await client.get(f"/v1/runs/{finished['id']}")).json()["response"] == finished
        left = (await client.get(f"/v1/runs/{unfinished}")).json()
        assert (left["status"], left["resumable"], left["attempts"]) == ("interrupted", True, 1)
        told = [each["event"]["event"] for each in left["events"]]
        assert told == ["looked"]
        resumed = await client.post(f"/v1/runs/{unfinished}/resume")
        assert resumed.status_code == 202
        run = await done(client, unfinished)
    assert (run["status"], run["attempts"], run["resumable"]) == ("completed", 2, False)
    assert (run["response"]["id"], run["response"]["option"]) == (unfinished, "B")
    assert run["response"]["report"]["seed"] == 11
    told = [each["event"]["event"] for each in run["events"]]
    assert told == ["looked", "noted", "looked", "asked", "proposed", "stopped"]
    assert [each["seq"] for each in run["events"]] == [1, 2, 3, 4, 5, 6]


async def test_a_killed_service_leaves_its_runs_to_the_next(settings: Settings, video_path: Path) -> None:
    """Without a clean end nothing marks them but the start of the next process."""
    slow = ScriptedEngine(always("A"), pause=600)
    async with over_asgi(settings, slow) as client:
        run_id = (await client.post("/v1/answers", json=body(video_path, background=True))).json()["id"]
        await until(lambda: len(slow.calls) == 1)
        assert (await client.get(f"/v1/runs/{run_id}")).json()["status"] == "running"
        other = settings.model_copy(update={"instance": "other"})
        async with over_asgi(other, slow) as beside:
            assert (await beside.get(f"/v1/runs/{run_id}")).json()["status"] == "running"
            elsewhere = await beside.post(f"/v1/runs/{run_id}/cancel")
            assert (elsewhere.status_code, elsewhere.json()["error"]["code"]) == (409, "run_elsewhere")
        async with over_asgi(settings, slow) as successor:
            left = (await successor.get(f"/v1/runs/{run_id}")).json()
            assert (left["status"], left["error"]["code"]) == ("interrupted", "interrupted")
        await client.post(f"/v1/runs/{run_id}/cancel")


async def test_a_request_too_large_to_keep_cannot_be_resumed(settings: Settings, video_path: Path) -> None:
    small = settings.model_copy(update={"kept_bytes": 10})
    async with over_asgi(small, ScriptedEngine([])) as client:
        await client.post("/v1/answers", json=body(video_path))
        (run,) = (await client.get("/v1/runs")).json()["data"]
        refused = await client.post(f"/v1/runs/{run['id']}/resume")
        later = (await client.post("/v1/answers", json=body(video_path, background=True))).json()
        assert (await done(client, later["id"]))["resumable"], "what was acknowledged is kept whatever its size"
    assert not run["resumable"]
    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "not_kept")


async def test_a_run_is_resumed_once_at_a_time(settings: Settings, video_path: Path) -> None:
    async with over_asgi(settings, ScriptedEngine([])) as client:
        await client.post("/v1/answers", json=body(video_path))
        run_id = (await client.get("/v1/runs")).json()["data"][0]["id"]
    held = HeldEngine(always("A"))
    async with over_asgi(settings, held) as client:
        both = await asyncio.gather(*(client.post(f"/v1/runs/{run_id}/resume") for _ in range(2)))
        assert sorted(response.status_code for response in both) == [202, 409]
        held.release.set()
        assert (await done(client, run_id))["attempts"] == 2


async def test_old_runs_are_forgotten(settings: Settings, engine: ScriptedEngine, video_path: Path) -> None:
    async with over_asgi(settings, engine) as client:
        run_id = (await client.post("/v1/answers", json=body(video_path))).json()["id"]
    brief = settings.model_copy(update={"run_days": 0.0})
    async with over_asgi(brief, engine) as client:
        await _until_missing(lambda: client.get(f"/v1/runs/{run_id}"))


async def _until_missing(get: Callable[[], Any]) -> None:
    async with asyncio.timeout(30):
        while (await get()).status_code != 404:
            await asyncio.sleep(0.01)


async def test_events_are_replayed_then_live(settings: Settings, video_path: Path) -> None:
    held = HeldEngine(always("A"))
    async with over_socket(settings, held) as client:
        run_id = (await client.post("/v1/answers", json=body(video_path, background=True))).json()["id"]
        await until(lambda: len(held.calls) == 1)
        async with client.stream("GET", f"/v1/runs/{run_id}/events") as response:
            assert response.headers["content-type"].startswith("text/event-stream")
            told = events(response)
            assert (await anext(told))[0] == "looked"
            held.release.set()
            rest = [each async for each in told]
        assert [name for name, _ in rest] == ["asked", "proposed", "stopped", "answer"]
        assert rest[-1][1]["answer"] == "red"
        replayed = [each async for each in _events(client, run_id, {})]
        assert [name for name, _ in replayed] == ["looked", "asked", "proposed", "stopped", "answer"]
        assert replayed[1:] == rest
        later = [name async for name, _ in _events(client, run_id, {"last-event-id": "3"})]
        assert later == ["stopped", "answer"]
        over = await client.get(f"/v1/runs/{run_id}/events", headers={"last-event-id": "5"})
        assert (over.status_code, over.content) == (204, b"")
        bad = await client.get(f"/v1/runs/{run_id}/events", headers={"last-event-id": "first"})
        assert bad.status_code == 400


async def _events(client: httpx.AsyncClient, run_id: str, headers: dict[str, str]) -> Any:
    async with client.stream("GET", f"/v1/runs/{run_id}/events", headers=headers) as response:
        async for each in events(response):
            yield each


async def test_every_event_has_its_number(settings: Settings, engine: ScriptedEngine, video_path: Path) -> None:
    async with over_asgi(settings, engine) as client:
        text = (await client.post("/v1/answers", json=body(video_path, stream=True, strategy="direct"))).text
        run_id = (await client.get("/v1/runs")).json()["data"][0]["id"]
        replay = (await client.get(f"/v1/runs/{run_id}/events")).text
    assert [line for line in text.splitlines() if line.startswith("id: ")] == [f"id: {n}" for n in range(1, 6)]
    assert replay == text, "a replay is the stream itself"


async def test_a_failed_run_ends_its_events_with_the_error(settings: Settings, video_path: Path) -> None:
    async with over_asgi(settings, ScriptedEngine([])) as client:
        await client.post("/v1/answers", json=body(video_path))
        run_id = (await client.get("/v1/runs")).json()["data"][0]["id"]
        replay = (await client.get(f"/v1/runs/{run_id}/events")).text
    assert "event: error" in replay
    assert "engine_failed" in replay
