"""Questions about videos that are named by URLs, over HTTP."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from agents.engines.scripted import ScriptedEngine
from app.settings import Settings
from tests.app.conftest import body, over_asgi
from tests.app.fetch.site import Answer, Site, running

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def near(
    site: Site, settings: Settings, engine: ScriptedEngine, **changes: Any
) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a service that may fetch from a site."""
    allowed = settings.model_copy(update={"fetch_private": (f"127.0.0.1:{site.port}",), **changes})
    async with over_asgi(allowed, engine) as client:
        yield client


async def ask(client: httpx.AsyncClient, video_path: Path, **video: Any) -> tuple[int, Any]:
    """Status and body of an answer about a video."""
    response = await client.post("/v1/answers", json=body(video_path, video=video))
    return response.status_code, response.json()


async def test_a_video_is_fetched_once_and_answered_about(
    settings: Settings, engine: ScriptedEngine, video_path: Path
) -> None:
    async with running() as site:
        site.answers["/film.mp4?token=1"] = Answer(video_path.read_bytes(), pieces=7)
        async with near(site, settings, engine) as client:
            url = f"http://127.0.0.1:{site.port}/film.mp4?token=1"
            asked = ({"url": url}, {"url": url}, {"url": url, "uuid": "mine"}, {"url": f"{url}2", "uuid": "mine"})
            answers = [await ask(client, video_path, **video) for video in asked]
            assert all((status, answer.get("answer")) == (200, "red") for status, answer in answers), answers
            assert len(site.requests) == 2
            assert answers[0][1]["report"]["seconds"]["fetch"] > 0
        assert not [path for path in (settings.data_dir / "fetched").iterdir() if path.is_file()]


async def test_urls_of_other_kinds(settings: Settings, engine: ScriptedEngine, video_path: Path) -> None:
    written = f"data:video/mp4;base64,{base64.b64encode(video_path.read_bytes()).decode()}"
    async with running() as site, near(site, settings, engine) as client:
        for url in (written, video_path.as_uri(), f"FILE://localhost{video_path}"):
            assert (await ask(client, video_path, url=url))[0] == 200
        assert site.connections == 0


@pytest.mark.parametrize(
    ("video", "status", "code"),
    [
        ({"url": "http://10.0.0.1/film.mp4"}, 403, "url_not_allowed"),
        ({"url": "http://1.1.1.1:22/film.mp4"}, 403, "url_not_allowed"),
        ({"url": "http://user@1.1.1.1/film.mp4"}, 400, "invalid_url"),
        ({"url": "ftp://1.1.1.1/film.mp4"}, 400, "invalid_url"),
        ({"url": "film.mp4"}, 400, "invalid_url"),
        ({"url": "file:///etc/passwd"}, 403, "not_allowed"),
        ({"url": "file:///%2e%2e/etc/passwd"}, 403, "not_allowed"),
        ({"url": "file://example.com/etc/passwd"}, 400, "invalid_url"),
        ({"url": "file:"}, 400, "invalid_url"),
        ({"url": "file://["}, 400, "invalid_url"),
        ({"url": "file:///%00"}, 404, "not_found"),
        ({"url": "data:video/mp4;base64,AAAA"}, 422, "unreadable_video"),
        ({"url": "data:video/mp4,x"}, 400, "invalid_url"),
        ({"url": "http://127.0.0.1:{port}/missing"}, 424, "cannot_fetch"),
        ({"url": "http://127.0.0.1:{port}/text"}, 422, "unreadable_video"),
        ({"url": "http://127.0.0.1:{port}/large"}, 413, "too_large"),
        ({"path": "film", "uuid": "mine"}, 400, "invalid_value"),
    ],
    ids=lambda value: str(value.get("url", value)) if isinstance(value, dict) else "",
)
async def test_bad_urls(
    settings: Settings, engine: ScriptedEngine, video_path: Path, video: dict[str, str], status: int, code: str
) -> None:
    async with running() as site:
        site.answers |= {"/text": Answer(b"no film"), "/large": Answer(b"x" * 2000)}
        named = {name: value.replace("{port}", str(site.port)) for name, value in video.items()}
        async with near(site, settings, engine, max_upload_bytes=1999) as client:
            got, said = await ask(client, video_path, **named)
    assert (got, said["error"]["code"]) == (status, code)
    assert engine.calls == []


async def test_fetching_can_be_forbidden(settings: Settings, engine: ScriptedEngine, video_path: Path) -> None:
    async with running() as site, near(site, settings, engine, fetch=False) as client:
        status, said = await ask(client, video_path, url=f"http://127.0.0.1:{site.port}/film.mp4")
        assert (status, said["error"]["param"]) == (403, "video.url")
        assert site.connections == 0
