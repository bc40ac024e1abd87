"""Runs of another tenant do not exist."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from agents.engines.scripted import ScriptedEngine
from app.access.caller import Quota
from app.access.keys import KeyStore
from app.db.session import Database
from app.main import create_app
from app.settings import Settings
from tests.app.conftest import body

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def keyed(settings: Settings, engine: ScriptedEngine, *scopes: str) -> AsyncIterator[list[httpx.AsyncClient]]:
    """Clients of one service: of two tenants, and one of the first with fewer scopes."""
    records = Database(settings.records_url)
    records.open()
    keys = KeyStore(records, Quota())
    secrets = [keys.create("one").secret, keys.create("two").secret, keys.create("one", scopes=scopes).secret]  # type: ignore[arg-type]
    records.close()
    app = create_app(settings, engine)
    async with app.router.lifespan_context(app):
        clients = [
            httpx.AsyncClient(
                transport=httpx.ASGITransport(app),
                base_url="http://localhost",
                headers={"authorization": f"Bearer {secret}"},
            )
            for secret in secrets
        ]
        yield clients
        for client in clients:
            await client.aclose()


async def test_nobody_sees_or_touches_anothers_run(
    settings: Settings, engine: ScriptedEngine, video_path: Path
) -> None:
    async with keyed(settings, engine) as (one, two, _):
        run_id = (await one.post("/v1/answers", json=body(video_path))).json()["id"]
        for method, path in (("GET", ""), ("GET", "/events"), ("POST", "/cancel"), ("POST", "/resume")):
            theirs = await two.request(method, f"/v1/runs/{run_id}{path}")
            nobodys = await two.request(method, f"/v1/runs/run_none{path}")
            assert theirs.status_code == nobodys.status_code == 404
            assert theirs.json()["error"]["code"] == nobodys.json()["error"]["code"]
        assert (await two.get("/v1/runs")).json()["data"] == []
        assert (await two.get("/v1/runs", params={"after": run_id})).status_code == 404
        assert (await one.get(f"/v1/runs/{run_id}")).status_code == 200


async def test_a_key_of_one_tenant_is_not_anothers(
    settings: Settings, engine: ScriptedEngine, video_path: Path
) -> None:
    headers = {"idempotency-key": "same", "x-stainless-retry-count": "1"}
    async with keyed(settings, engine) as (one, two, _):
        first = await one.post("/v1/answers", json=body(video_path), headers=headers)
        second = await two.post("/v1/answers", json=body(video_path, seed=3), headers=headers)
        third = await two.post("/v1/answers", json=body(video_path), headers={"x-stainless-retry-count": "1"})
    ids = {each.json()["id"] for each in (first, second, third)}
    assert len(ids) == 3


async def test_who_may_only_ask_reads_no_runs(settings: Settings, engine: ScriptedEngine, video_path: Path) -> None:
    async with keyed(settings, engine, "answer") as (one, _, asker):
        run_id = (await one.post("/v1/answers", json=body(video_path))).json()["id"]
        assert (await asker.post("/v1/answers", json=body(video_path))).status_code == 200
        for path in ("", f"/{run_id}", f"/{run_id}/events"):
            assert (await asker.get(f"/v1/runs{path}")).status_code == 403


async def test_who_may_only_read_runs_nothing(settings: Settings, engine: ScriptedEngine, video_path: Path) -> None:
    async with keyed(settings, engine, "read") as (one, _, reader):
        run_id = (await one.post("/v1/answers", json=body(video_path))).json()["id"]
        assert (await reader.get(f"/v1/runs/{run_id}")).status_code == 200
        for path in ("/v1/answers", "/v1/chat/completions", f"/v1/runs/{run_id}/cancel", f"/v1/runs/{run_id}/resume"):
            assert (await reader.post(path, json=body(video_path))).status_code in (400, 403)
        assert (await reader.post(f"/v1/runs/{run_id}/cancel")).status_code == 403


async def test_a_key_keeps_within_its_quota_by_chat_too(
    settings: Settings, engine: ScriptedEngine, video_path: Path
) -> None:
    few = settings.model_copy(update={"quota": Quota(frames_per_run=2)})
    async with keyed(few, engine) as (one, *_):
        found = (await one.post("/v1/answers", json=body(video_path))).json()
    assert found["report"]["frames_viewed"] == 2
