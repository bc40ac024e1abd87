"""Indexes over HTTP: built once, found again, each tenant's own, within limits."""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import ValidationError

from agents.engine import EngineError, Prompt, Sampling
from agents.engines.scripted import Call, ScriptedEngine
from app.indexes.indexes import Indexes
from app.indexes.settings import IndexSettings
from app.keys import Keys
from app.main import create_app
from app.quota import Quota
from app.records import Records
from app.service import Service
from app.settings import Settings
from tests.app.conftest import always, body, over_asgi

pytestmark = pytest.mark.anyio
CLIPS = 7
PADDING = b"\x00\x00\x00\x08free"
"""Makes the same film another content."""
SRT = "1\n00:00:05,000 --> 00:00:07,000\nWelcome to platform 47.\n\n2\n00:00:30,000 --> 00:00:32,000\nMind the gap.\n"


def captioner(pause: float = 0.0, model: str = "scripted") -> ScriptedEngine:
    """An engine that says which seconds it sees."""

    def script(prompt: Prompt, sampling: Sampling, n: int) -> Iterable[str]:
        call = Call(prompt, sampling, n)
        return [f"grey from second {int(call.times[0])}" if call.times else "it grows brighter"] * n

    return ScriptedEngine(script, pause=pause, model=model)


@pytest.fixture
def engine() -> ScriptedEngine:
    return captioner()


def with_index(settings: Settings, **wishes: Any) -> Settings:
    return settings.model_copy(update={"index": settings.index.model_copy(update=wishes)})


async def build(client: httpx.AsyncClient, film: Path, **wishes: Any) -> dict[str, Any]:
    """Ask for an index and wait until it is no longer being built."""
    response = await client.post("/v1/indexes", json={"video": {"path": str(film)}, **wishes})
    assert response.status_code in (200, 202), response.text
    return await settled(client, response.json()["id"])


async def settled(client: httpx.AsyncClient, index: str) -> dict[str, Any]:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        shown: dict[str, Any] = (await client.get(f"/v1/indexes/{index}")).json()
        if shown["status"] not in ("queued", "building"):
            return shown
        await asyncio.sleep(0.02)
    raise AssertionError("still building")


async def search(client: httpx.AsyncClient, query: str, **wishes: Any) -> dict[str, Any]:
    response = await client.post("/v1/search", json={"query": query, **wishes})
    assert response.status_code == 200, response.text
    found: dict[str, Any] = response.json()
    return found


def error(response: httpx.Response) -> tuple[int, str, str | None]:
    said = response.json()["error"]
    return response.status_code, said["code"], said["param"]


async def test_an_index_is_built_in_the_background(settings: Settings, engine: ScriptedEngine, film: Path) -> None:
    slow = captioner(pause=0.05)
    async with over_asgi(settings, slow) as client:
        begun = await client.post("/v1/indexes", json={"video": {"path": str(film)}})
        assert begun.status_code == 202
        assert begun.json()["status"] in ("queued", "building")
        shown = await settled(client, begun.json()["id"])
    assert shown["status"] == "complete"
    assert shown["levels"] == [
        {"seconds": 10.0, "clips": CLIPS, "captioned": CLIPS, "failed": 0},
        {"seconds": 60.0, "clips": 1, "captioned": 1, "failed": 0},
    ]
    assert shown["video"] == {"path": str(film)} | dict.fromkeys(("file", "url", "uuid", "pictures"))
    assert shown["cost"]["calls"] == CLIPS + 1 == len(slow.calls)
    assert shown["cost"]["frames"] == sum(call.frames for call in slow.calls)
    assert shown["cost"]["prompt_tokens"] > 0
    assert shown["bytes"] > 0
    assert shown["builder"]["captioner"] == "scripted"
    assert shown["current"] is True
    assert shown["error"] is None
    assert engine.calls == []


async def test_what_is_built_is_not_built_again(settings: Settings, engine: ScriptedEngine, film: Path) -> None:
    async with over_asgi(settings, engine) as client:
        first = await build(client, film)
        again = await client.post("/v1/indexes", json={"video": {"path": str(film)}})
        shown = await settled(client, again.json()["id"])
    assert shown["id"] == first["id"]
    assert len(engine.calls) == CLIPS + 1
    async with over_asgi(settings, engine) as client:
        assert (await build(client, film))["status"] == "complete"
    assert len(engine.calls) == CLIPS + 1


async def test_asked_twice_at_once_a_film_is_built_once(settings: Settings, film: Path) -> None:
    engine = captioner(pause=0.05)
    async with over_asgi(settings, engine) as client:
        one, other = await asyncio.gather(build(client, film), build(client, film))
    assert one["id"] == other["id"]
    assert len(engine.calls) == CLIPS + 1


async def test_a_search_finds_seconds_in_a_video_an_index_and_everywhere(
    settings: Settings, engine: ScriptedEngine, film: Path
) -> None:
    async with over_asgi(settings, engine) as client:
        index = (await build(client, film))["id"]
        for wish in ({"video": {"path": str(film)}}, {"index": index}, {}):
            found = await search(client, "grey from second 40", k=2, **wish)
            hit = found["data"][0]
            assert (hit["start"], hit["end"], hit["source"], hit["id"]) == (40, 50, "caption", "c:10:4")
            assert hit["index"] == index
            assert hit["video"]["path"] == str(film)
            assert hit["score"] > 0.9
            assert len(found["data"]) == 2
            assert found["degraded"] == []
            assert found["coverage"] == (1.0 if wish else None)


async def test_a_search_keeps_to_its_filters(settings: Settings, engine: ScriptedEngine, film: Path) -> None:
    async with over_asgi(settings, engine) as client:
        index = (await build(client, film, subtitles=SRT))["id"]
        inside = await search(client, "grey from second", index=index, start=12, end=25, level=10)
        assert sorted(hit["start"] for hit in inside["data"]) == [10, 20]
        summary = await search(client, "brighter", index=index, level=60)
        assert [hit["text"] for hit in summary["data"]] == ["it grows brighter"]
        spoken = await search(client, "platform 47", index=index, sources=["subtitle"])
        assert spoken["data"][0] | {"score": 1} == spoken["data"][0] | {"score": 1, "start": 5, "end": 7, "id": "s:0"}
        late = await search(client, "grey", index=index, start=900)
        assert late["data"] == []


async def test_subtitles_are_found_before_anything_is_captioned(
    settings: Settings, engine: ScriptedEngine, film: Path, tmp_path: Path
) -> None:
    (tmp_path / "talk.srt").write_text(SRT)
    shutil.copy(film, tmp_path / "talk.mp4")
    async with over_asgi(settings.model_copy(update={"video_dir": tmp_path}), engine) as client:
        found = await search(client, "mind the gap", video={"path": "talk.mp4"})
    assert (found["data"][0]["start"], found["data"][0]["source"]) == (30, "subtitle")
    assert found["coverage"] == 0
    assert engine.calls == []


@pytest.mark.parametrize(
    ("wish", "status", "code", "param"),
    [
        ({"video": "file_none"}, 404, "not_found", "video"),
        ({"video": {"path": "nothing.mp4"}}, 404, "not_found", "video.path"),
        ({"video": {"path": "../../etc/passwd"}}, 403, "not_allowed", "video.path"),
        ({"level": 7}, 400, "invalid_value", "level"),
        ({"subtitles": "no subtitles"}, 422, "unreadable_video", None),
        ({"subtitles": ""}, 400, "invalid_value", "subtitles"),
        ({"budget": {"frames": 0}}, 400, "invalid_value", "budget.frames"),
        ({"wings": 2}, 400, "unknown_field", "wings"),
        ({"video": {"pictures": [{"url": "data:image/png;base64,AAAA"}]}}, None, None, None),
    ],
)
async def test_a_wrong_wish_for_an_index_is_refused(
    settings: Settings,
    engine: ScriptedEngine,
    film: Path,
    wish: dict[str, Any],
    status: int | None,
    code: str,
    param: str,
) -> None:
    async with over_asgi(settings, engine) as client:
        response = await client.post("/v1/indexes", json={"video": {"path": str(film)}, **wish})
        if status is None:
            assert 400 <= response.status_code < 500
        else:
            assert error(response) == (status, code, param)
        assert (await client.get("/v1/indexes")).json()["data"] == []
    assert engine.calls == []


@pytest.mark.parametrize(
    ("wish", "status", "param"),
    [
        ({"query": ""}, 400, "query"),
        ({"query": "x" * 2001}, 400, "query"),
        ({"k": 0}, 400, "k"),
        ({"k": 101}, 400, "k"),
        ({"start": 5, "end": 5}, 400, None),
        ({"start": -1}, 400, "start"),
        ({"level": 0}, 400, "level"),
        ({"sources": ["rumour"]}, 400, "sources.0"),
        ({"index": "idx_none"}, 404, "index"),
        ({"index": "../.."}, 404, "index"),
        ({"index": "idx_none", "video": "file_none"}, 400, None),
        ({"video": "file_none"}, 404, "video"),
    ],
)
async def test_a_wrong_search_is_refused(
    settings: Settings, engine: ScriptedEngine, wish: dict[str, Any], status: int, param: str | None
) -> None:
    async with over_asgi(settings, engine) as client:
        response = await client.post("/v1/search", json={"query": "star", **wish})
    assert error(response)[::2] == (status, param)


async def test_after_the_engine_failed_the_same_request_goes_on(settings: Settings, film: Path) -> None:
    broken = True

    def script(prompt: Prompt, sampling: Sampling, n: int) -> Iterable[str]:
        times = Call(prompt, sampling, n).times
        if broken and times and times[0] > 40:
            raise EngineError("the model is down")
        return [f"grey from second {int(times[0])}" if times else "it grows brighter"] * n

    engine = ScriptedEngine(script)
    async with over_asgi(with_index(settings, at_once=1), engine) as client:
        failed = await build(client, film)
        assert (failed["status"], failed["error"]["code"]) == ("failed", "engine_failed")
        assert failed["levels"][0]["captioned"] == 4
        broken, before = False, len(engine.calls)
        whole = await build(client, film)
    assert (whole["status"], whole["error"]) == ("complete", None)
    assert len(engine.calls) - before == CLIPS - 4 + 1


async def test_what_is_written_before_the_budget_ends_stays(
    settings: Settings, engine: ScriptedEngine, film: Path
) -> None:
    async with over_asgi(settings, engine) as client:
        part = await build(client, film, budget={"calls": 3})
        assert (part["status"], part["error"]["code"]) == ("partial", "budget_exceeded")
        assert part["levels"][0]["captioned"] == 3
        assert (await build(client, film))["status"] == "complete"
    assert len(engine.calls) == CLIPS + 1


async def test_an_index_survives_the_service(settings: Settings, film: Path) -> None:
    slow, quick = captioner(pause=0.1), captioner()
    async with over_asgi(with_index(settings, at_once=1), slow) as client:
        index = (await client.post("/v1/indexes", json={"video": {"path": str(film)}})).json()["id"]
        while (await client.get(f"/v1/indexes/{index}")).json()["levels"][0]["captioned"] < 2:
            await asyncio.sleep(0.02)
    async with over_asgi(with_index(settings, at_once=1), quick) as client:
        left = (await client.get(f"/v1/indexes/{index}")).json()
        assert left["status"] == "partial"
        assert left["levels"][0]["captioned"] >= 2
        assert (await search(client, "grey from second 0"))["data"]
        assert (await build(client, film))["status"] == "complete"
    assert len(quick.calls) <= CLIPS - 2 + 1


async def test_a_deleted_index_is_gone_and_no_longer_built(settings: Settings, film: Path) -> None:
    engine = captioner(pause=0.2)
    async with over_asgi(settings, engine) as client:
        index = (await client.post("/v1/indexes", json={"video": {"path": str(film)}})).json()["id"]
        gone = await client.delete(f"/v1/indexes/{index}")
        assert gone.json() == {"id": index, "object": "index", "deleted": True}
        assert (await client.get(f"/v1/indexes/{index}")).status_code == 404
        assert (await client.delete(f"/v1/indexes/{index}")).status_code == 404
        assert (await client.get("/v1/indexes")).json() == {"object": "list", "data": []}
        calls = len(engine.calls)
        await asyncio.sleep(0.3)
        assert len(engine.calls) == calls
    assert not list((settings.data_dir / "indexes").rglob("rows.sqlite"))


async def test_another_model_makes_another_index(settings: Settings, engine: ScriptedEngine, film: Path) -> None:
    async with over_asgi(settings, engine) as client:
        old = await build(client, film)
    async with over_asgi(settings, captioner(model="better")) as client:
        new = await build(client, film)
        assert old["id"] != new["id"]
        shown = (await client.get("/v1/indexes")).json()["data"]
        assert [(each["builder"]["captioner"], each["current"]) for each in shown] == [
            ("scripted", False),
            ("better", True),
        ]
        assert {hit["index"] for hit in (await search(client, "grey"))["data"]} == {new["id"]}


async def test_a_direct_answer_leaves_no_index(settings: Settings, film: Path) -> None:
    async with over_asgi(settings, ScriptedEngine(always("A"))) as client:
        assert (await client.post("/v1/answers", json=body(film))).status_code == 200
        assert (await client.get("/v1/indexes")).json()["data"] == []


async def test_only_so_many_are_built_at_once(settings: Settings, film: Path, tmp_path: Path) -> None:
    films = [tmp_path / f"{number}.mp4" for number in range(3)]
    for number, each in enumerate(films):
        each.write_bytes(film.read_bytes() + PADDING * number)
    few = with_index(settings, max_builds=1, max_waiting=1).model_copy(update={"video_dir": tmp_path})
    async with over_asgi(few, captioner(pause=0.3)) as client:
        begun = [await client.post("/v1/indexes", json={"video": {"path": each.name}}) for each in films]
        assert [each.status_code for each in begun] == [202, 202, 429]
        assert begun[2].json()["error"]["code"] == "too_many_runs"
        assert "retry-after" in begun[2].headers
        first, second = [(await client.get(f"/v1/indexes/{each.json()['id']}")).json() for each in begun[:2]]
        assert (first["status"], second["status"]) == ("building", "queued")


async def test_a_film_has_so_many_clips(settings: Settings, engine: ScriptedEngine, film: Path) -> None:
    async with over_asgi(with_index(settings, max_clips=CLIPS - 1), engine) as client:
        response = await client.post("/v1/indexes", json={"video": {"path": str(film)}})
    assert error(response) == (400, "too_many_clips", "video")
    async with over_asgi(with_index(settings, max_clips=CLIPS), engine) as client:
        assert (await build(client, film))["status"] == "complete"


async def test_a_tenants_indexes_take_so_many_bytes(
    settings: Settings, engine: ScriptedEngine, film: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other.mp4"
    other.write_bytes(film.read_bytes() + PADDING)
    shutil.copy(film, tmp_path / "first.mp4")
    little = with_index(settings, max_bytes=1).model_copy(update={"video_dir": tmp_path})
    async with over_asgi(little, engine) as client:
        assert (await build(client, tmp_path / "first.mp4"))["status"] == "complete"
        response = await client.post("/v1/indexes", json={"video": {"path": "other.mp4"}})
        assert error(response)[:2] == (413, "index_full")


async def test_an_index_holds_so_many_lines(settings: Settings, film: Path) -> None:
    async with over_asgi(with_index(settings, max_lines=3, at_once=1), captioner()) as client:
        shown = await build(client, film)
        assert (shown["status"], shown["error"]["code"]) == ("failed", "index_full")
        assert shown["levels"][0]["captioned"] == 3
        assert error(await client.post("/v1/search", json={"query": "x", "k": 101}))[0] == 400


@pytest.mark.parametrize("name", list(IndexSettings.model_fields))
def test_every_setting_is_described_and_no_limit_is_negative(name: str) -> None:
    field = IndexSettings.model_fields[name]
    assert field.description
    if field.annotation in (int, float):
        with pytest.raises(ValidationError):
            IndexSettings.model_validate({name: -1})


def test_index_settings_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECONDLOOK_INDEX__CLIP_SECONDS", "5")
    monkeypatch.setenv("SECONDLOOK_INDEX__MAX_BUILDS", "3")
    settings = Settings()
    assert (settings.index.captioning.clip_seconds, settings.index.max_builds, settings.index.fps) == (5, 3, 1)


@asynccontextmanager
async def tenants(settings: Settings, engine: ScriptedEngine) -> AsyncIterator[tuple[httpx.AsyncClient, ...]]:
    """Clients of two tenants, and the service."""
    records = Records(settings.records_url)
    records.open()
    secrets = [Keys(records, Quota()).create(name).secret for name in ("one", "two")]
    records.close()
    app = create_app(settings, engine)
    async with app.router.lifespan_context(app):
        transport = httpx.ASGITransport(app)
        one, two = (
            httpx.AsyncClient(
                transport=transport, base_url="http://localhost", headers={"authorization": f"Bearer {secret}"}
            )
            for secret in secrets
        )
        async with one, two:
            yield one, two


async def test_nobody_sees_searches_or_removes_anothers_index(settings: Settings, film: Path) -> None:
    engine = captioner()
    async with tenants(settings, engine) as (one, two):
        mine = await build(one, film)
        for method in ("GET", "DELETE"):
            response = await two.request(method, f"/v1/indexes/{mine['id']}")
            assert error(response)[:2] == (404, "not_found")
        assert error(await two.post("/v1/search", json={"query": "grey", "index": mine["id"]}))[0] == 404
        assert (await two.get("/v1/indexes")).json()["data"] == []
        assert (await search(two, "grey"))["data"] == []
        assert (await search(two, "grey", video={"path": str(film)}))["data"] == []
        theirs = await build(two, film)
        assert theirs["id"] != mine["id"]
        assert len(engine.calls) == 2 * (CLIPS + 1)
        assert {hit["index"] for hit in (await search(two, "grey"))["data"]} == {theirs["id"]}
        assert (await one.get(f"/v1/indexes/{mine['id']}")).json()["status"] == "complete"


async def test_an_index_goes_with_its_file(settings: Settings, engine: ScriptedEngine, film: Path) -> None:
    app = create_app(settings, engine)
    service: Service = app.state.service
    async with app.router.lifespan_context(app):
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            file = (await client.post("/v1/files", files={"file": film.read_bytes()})).json()["id"]
            response = await client.post("/v1/indexes", json={"video": file})
            shown = await settled(client, response.json()["id"])
            assert shown["video"]["file"] == file
            indexes: Indexes = service._indexes
            await indexes.sweep(service.library)
            assert (await client.get(f"/v1/indexes/{shown['id']}")).status_code == 200
            await client.delete(f"/v1/files/{file}")
            await indexes.sweep(service.library)
            assert (await client.get(f"/v1/indexes/{shown['id']}")).status_code == 404
