"""Search over HTTP: in a video, in an index, everywhere, but never among another's."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from agents.engines.base import Prompt, Reply, Sampling, ToolCall
from agents.engines.scripted import ScriptedEngine, ScriptLine
from app.access.caller import Quota
from app.access.keys import KeyStore
from app.db.session import Database
from app.main import create_app
from app.settings import Settings
from tests.app.conftest import body, over_asgi
from tests.app.indexes.indexing import CLIPS, SRT, build, captioner, error, search

pytestmark = pytest.mark.anyio


@pytest.fixture
def engine() -> ScriptedEngine:
    return captioner()


async def test_a_search_finds_seconds_in_a_video_an_index_and_everywhere(
    settings: Settings, engine: ScriptedEngine, video_path: Path
) -> None:
    async with over_asgi(settings, engine) as client:
        index = (await build(client, video_path))["id"]
        for wish in ({"video": {"path": str(video_path)}}, {"index": index}, {}):
            found = await search(client, "grey from second 40", k=2, **wish)
            hit = found["data"][0]
            assert (hit["start"], hit["end"], hit["source"], hit["id"]) == (40, 50, "caption", "c:10:4")
            assert hit["index"] == index
            assert hit["video"]["path"] == str(video_path)
            assert hit["score"] > 0.9
            assert len(found["data"]) == 2
            assert found["degraded"] == []
            assert found["coverage"] == (1.0 if wish else None)


async def test_a_search_keeps_to_its_filters(settings: Settings, engine: ScriptedEngine, video_path: Path) -> None:
    async with over_asgi(settings, engine) as client:
        index = (await build(client, video_path, subtitles=SRT))["id"]
        inside = await search(client, "grey from second", index=index, start=12, end=25, level=10)
        assert sorted(hit["start"] for hit in inside["data"]) == [10, 20]
        summary = await search(client, "brighter", index=index, level=60)
        assert [hit["text"] for hit in summary["data"]] == ["it grows brighter"]
        spoken = await search(client, "platform 47", index=index, sources=["subtitle"])
        assert spoken["data"][0] | {"score": 1} == spoken["data"][0] | {"score": 1, "start": 5, "end": 7, "id": "s:0"}
        late = await search(client, "grey", index=index, start=900)
        assert late["data"] == []


async def test_subtitles_are_found_before_anything_is_captioned(
    settings: Settings, engine: ScriptedEngine, video_path: Path, tmp_path: Path
) -> None:
    (tmp_path / "talk.srt").write_text(SRT)
    shutil.copy(video_path, tmp_path / "talk.mp4")
    async with over_asgi(settings.model_copy(update={"video_dir": tmp_path}), engine) as client:
        found = await search(client, "mind the gap", video={"path": "talk.mp4"})
    assert (found["data"][0]["start"], found["data"][0]["source"]) == (30, "subtitle")
    assert found["coverage"] == 0
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


@asynccontextmanager
async def tenants(settings: Settings, engine: ScriptedEngine) -> AsyncIterator[tuple[httpx.AsyncClient, ...]]:
    """Clients of two tenants, and the service."""
    records = Database(settings.records_url)
    records.open()
    secrets = [KeyStore(records, Quota()).create(name).secret for name in ("one", "two")]
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


async def test_nobody_sees_searches_or_removes_anothers_index(settings: Settings, video_path: Path) -> None:
    engine = captioner()
    async with tenants(settings, engine) as (one, two):
        mine = await build(one, video_path)
        for method in ("GET", "DELETE"):
            response = await two.request(method, f"/v1/indexes/{mine['id']}")
            assert error(response)[:2] == (404, "not_found")
        assert error(await two.post("/v1/search", json={"query": "grey", "index": mine["id"]}))[0] == 404
        assert (await two.get("/v1/indexes")).json()["data"] == []
        assert (await search(two, "grey"))["data"] == []
        assert (await search(two, "grey", video={"path": str(video_path)}))["data"] == []
        theirs = await build(two, video_path)
        assert theirs["id"] != mine["id"]
        assert len(engine.calls) == 2 * (CLIPS + 1)
        assert {hit["index"] for hit in (await search(two, "grey"))["data"]} == {theirs["id"]}
        assert (await one.get(f"/v1/indexes/{mine['id']}")).json()["status"] == "complete"


async def test_a_planner_searches_the_callers_index(settings: Settings, video_path: Path) -> None:
    captions = captioner()

    def script(prompt: Prompt, sampling: Sampling, n: int) -> list[ScriptLine]:
        if not sampling.tools:
            return [{each: float(each == sampling.choices[0]) for each in sampling.choices}] * n
        if any(message.role == "tool" for message in prompt):
            return [Reply("Answer: A")] * n
        call = ToolCall("1", "search_clips", '{"query": "grey from second 40"}')
        return [Reply("", finish="calls", calls=(call,))] * n

    asker = ScriptedEngine(script, capabilities=frozenset({"logprobs", "choices", "tools"}))
    async with over_asgi(settings, captions) as client:
        await build(client, video_path)
    async with over_asgi(settings, asker) as client:
        response = await client.post("/v1/answers", json=body(video_path, strategy={"name": "planner"}))
    assert response.status_code == 200, response.text
    assert response.json()["report"]["tool_calls"] >= 1
    assert any("grey from second 40" in call.text for call in asker.calls if "<data>" in call.text)
