"""Indexes over HTTP: built once, kept, resumed, removed, and held to their limits."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import ValidationError

from agents.engines.base import EngineError, Prompt, Sampling
from agents.engines.scripted import RecordedCall, ScriptedEngine
from app.indexes.manager import IndexManager
from app.main import create_app
from app.service import Service
from app.settings import IndexSettings, Settings
from tests.app.conftest import always, body, over_asgi
from tests.app.indexes.indexing import CLIPS, PADDING, build, captioner, error, search, settled, with_index

pytestmark = pytest.mark.anyio


@pytest.fixture
def engine() -> ScriptedEngine:
    return captioner()


async def test_an_index_is_built_in_the_background(
    settings: Settings, engine: ScriptedEngine, video_path: Path
) -> None:
    slow = captioner(pause=0.05)
    async with over_asgi(settings, slow) as client:
        begun = await client.post("/v1/indexes", json={"video": {"path": str(video_path)}})
        assert begun.status_code == 202
        assert begun.json()["status"] in ("queued", "building")
        shown = await settled(client, begun.json()["id"])
    assert shown["status"] == "complete"
    assert shown["levels"] == [
        {"seconds": 10.0, "clips": CLIPS, "captioned": CLIPS, "failed": 0},
        {"seconds": 60.0, "clips": 1, "captioned": 1, "failed": 0},
    ]
    assert shown["video"] == {"path": str(video_path)} | dict.fromkeys(("file", "url", "uuid", "pictures"))
    assert shown["cost"]["calls"] == CLIPS + 1 == len(slow.calls)
    assert shown["cost"]["frames"] == sum(call.frames for call in slow.calls)
    assert shown["cost"]["prompt_tokens"] > 0
    assert shown["bytes"] > 0
    assert shown["builder"]["captioner"] == "scripted"
    assert shown["current"] is True
    assert shown["error"] is None
    assert engine.calls == []


async def test_what_is_built_is_not_built_again(settings: Settings, engine: ScriptedEngine, video_path: Path) -> None:
    async with over_asgi(settings, engine) as client:
        first = await build(client, video_path)
        again = await client.post("/v1/indexes", json={"video": {"path": str(video_path)}})
    assert (again.status_code, again.json()) == (200, first)
    assert len(engine.calls) == CLIPS + 1
    async with over_asgi(settings, engine) as client:
        assert (await build(client, video_path))["status"] == "complete"
    assert len(engine.calls) == CLIPS + 1


async def test_asked_twice_at_once_a_video_is_built_once(settings: Settings, video_path: Path) -> None:
    engine = captioner(pause=0.05)
    async with over_asgi(settings, engine) as client:
        one, other = await asyncio.gather(build(client, video_path), build(client, video_path))
    assert one["id"] == other["id"]
    assert len(engine.calls) == CLIPS + 1


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
    video_path: Path,
    wish: dict[str, Any],
    status: int | None,
    code: str,
    param: str,
) -> None:
    async with over_asgi(settings, engine) as client:
        response = await client.post("/v1/indexes", json={"video": {"path": str(video_path)}, **wish})
        if status is None:
            assert 400 <= response.status_code < 500
        else:
            assert error(response) == (status, code, param)
        assert (await client.get("/v1/indexes")).json()["data"] == []
    assert engine.calls == []


async def test_after_the_engine_failed_the_same_request_goes_on(settings: Settings, video_path: Path) -> None:
    broken = True

    def script(prompt: Prompt, sampling: Sampling, n: int) -> Iterable[str]:
        times = RecordedCall(prompt, sampling, n).times
        if broken and times and times[0] > 40:
            raise EngineError("the model is down")
        return [f"grey from second {int(times[0])}" if times else "it grows brighter"] * n

    engine = ScriptedEngine(script)
    async with over_asgi(with_index(settings, at_once=1), engine) as client:
        failed = await build(client, video_path)
        assert (failed["status"], failed["error"]["code"]) == ("failed", "engine_failed")
        assert failed["levels"][0]["captioned"] == 4
        broken, before = False, len(engine.calls)
        whole = await build(client, video_path)
    assert (whole["status"], whole["error"]) == ("complete", None)
    assert len(engine.calls) - before == CLIPS - 4 + 1


async def test_what_is_written_before_the_budget_ends_stays(
    settings: Settings, engine: ScriptedEngine, video_path: Path
) -> None:
    async with over_asgi(settings, engine) as client:
        part = await build(client, video_path, budget={"calls": 3})
        assert (part["status"], part["error"]["code"]) == ("partial", "budget_exceeded")
        assert part["levels"][0]["captioned"] == 3
        assert (await build(client, video_path))["status"] == "complete"
    assert len(engine.calls) == CLIPS + 1


async def test_an_index_survives_the_service(settings: Settings, video_path: Path) -> None:
    slow, quick = captioner(pause=0.1), captioner()
    async with over_asgi(with_index(settings, at_once=1), slow) as client:
        index = (await client.post("/v1/indexes", json={"video": {"path": str(video_path)}})).json()["id"]
        async with asyncio.timeout(30):
            while (await client.get(f"/v1/indexes/{index}")).json()["levels"][0]["captioned"] < 2:
                await asyncio.sleep(0.02)
    async with over_asgi(with_index(settings, at_once=1), quick) as client:
        left = (await client.get(f"/v1/indexes/{index}")).json()
        assert left["status"] == "partial"
        assert left["levels"][0]["captioned"] >= 2
        assert (await search(client, "grey from second 0"))["data"]
        assert (await build(client, video_path))["status"] == "complete"
    assert len(quick.calls) <= CLIPS - 2 + 1


async def test_a_deleted_index_is_gone_and_no_longer_built(settings: Settings, video_path: Path) -> None:
    engine = captioner(pause=0.2)
    async with over_asgi(settings, engine) as client:
        index = (await client.post("/v1/indexes", json={"video": {"path": str(video_path)}})).json()["id"]
        gone = await client.delete(f"/v1/indexes/{index}")
        assert gone.json() == {"id": index, "object": "index", "deleted": True}
        assert (await client.get(f"/v1/indexes/{index}")).status_code == 404
        assert (await client.delete(f"/v1/indexes/{index}")).status_code == 404
        assert (await client.get("/v1/indexes")).json() == {"object": "list", "data": []}
        calls = len(engine.calls)
        await asyncio.sleep(0.3)
        assert len(engine.calls) == calls
    assert not list((settings.data_dir / "indexes").rglob("rows.sqlite"))


async def test_another_model_makes_another_index(settings: Settings, engine: ScriptedEngine, video_path: Path) -> None:
    async with over_asgi(settings, engine) as client:
        old = await build(client, video_path)
    async with over_asgi(settings, captioner(model="better")) as client:
        new = await build(client, video_path)
        assert old["id"] != new["id"]
        shown = (await client.get("/v1/indexes")).json()["data"]
        assert [(each["builder"]["captioner"], each["current"]) for each in shown] == [
            ("scripted", False),
            ("better", True),
        ]
        assert {hit["index"] for hit in (await search(client, "grey"))["data"]} == {new["id"]}


async def test_a_direct_answer_leaves_no_index(settings: Settings, video_path: Path) -> None:
    async with over_asgi(settings, ScriptedEngine(always("A"))) as client:
        assert (await client.post("/v1/answers", json=body(video_path))).status_code == 200
        assert (await client.get("/v1/indexes")).json()["data"] == []


async def test_an_index_goes_with_its_file(settings: Settings, engine: ScriptedEngine, video_path: Path) -> None:
    app = create_app(settings, engine)
    service: Service = app.state.service
    async with app.router.lifespan_context(app):
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            file = (await client.post("/v1/files", files={"file": video_path.read_bytes()})).json()["id"]
            response = await client.post("/v1/indexes", json={"video": file})
            shown = await settled(client, response.json()["id"])
            assert shown["video"]["file"] == file
            indexes: IndexManager = service._indexes
            await indexes.sweep(service.files)
            assert (await client.get(f"/v1/indexes/{shown['id']}")).status_code == 200
            await client.delete(f"/v1/files/{file}")
            await indexes.sweep(service.files)
            assert (await client.get(f"/v1/indexes/{shown['id']}")).status_code == 404


async def test_only_so_many_are_built_at_once(settings: Settings, video_path: Path, tmp_path: Path) -> None:
    videos = [tmp_path / f"{number}.mp4" for number in range(3)]
    for number, each in enumerate(videos):
        each.write_bytes(video_path.read_bytes() + PADDING * number)
    few = with_index(settings, max_builds=1, max_waiting=1).model_copy(update={"video_dir": tmp_path})
    async with over_asgi(few, captioner(pause=0.3)) as client:
        begun = [await client.post("/v1/indexes", json={"video": {"path": each.name}}) for each in videos]
        assert [each.status_code for each in begun] == [202, 202, 429]
        assert begun[2].json()["error"]["code"] == "too_many_runs"
        assert "retry-after" in begun[2].headers
        first, second = [(await client.get(f"/v1/indexes/{each.json()['id']}")).json() for each in begun[:2]]
        assert (first["status"], second["status"]) == ("building", "queued")


async def test_a_video_has_so_many_clips(settings: Settings, engine: ScriptedEngine, video_path: Path) -> None:
    async with over_asgi(with_index(settings, max_clips=CLIPS - 1), engine) as client:
        response = await client.post("/v1/indexes", json={"video": {"path": str(video_path)}})
    assert error(response) == (400, "too_many_clips", "video")
    async with over_asgi(with_index(settings, max_clips=CLIPS), engine) as client:
        assert (await build(client, video_path))["status"] == "complete"


async def test_a_tenants_indexes_take_so_many_bytes(
    settings: Settings, engine: ScriptedEngine, video_path: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other.mp4"
    other.write_bytes(video_path.read_bytes() + PADDING)
    shutil.copy(video_path, tmp_path / "first.mp4")
    little = with_index(settings, max_bytes=1).model_copy(update={"video_dir": tmp_path})
    async with over_asgi(little, engine) as client:
        assert (await build(client, tmp_path / "first.mp4"))["status"] == "complete"
        response = await client.post("/v1/indexes", json={"video": {"path": "other.mp4"}})
        assert error(response)[:2] == (413, "index_full")


async def test_an_index_holds_so_many_lines(settings: Settings, video_path: Path) -> None:
    async with over_asgi(with_index(settings, max_lines=3, at_once=1), captioner()) as client:
        shown = await build(client, video_path)
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
