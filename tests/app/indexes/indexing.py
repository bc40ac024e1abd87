"""Ask a service for indexes, with an engine that says what it sees."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import httpx

from agents.engines.base import Prompt, Sampling
from agents.engines.scripted import RecordedCall, ScriptedEngine
from app.settings import Settings

CLIPS = 7
PADDING = b"\x00\x00\x00\x08free"
"""Makes the same video another content."""
SRT = "1\n00:00:05,000 --> 00:00:07,000\nWelcome to platform 47.\n\n2\n00:00:30,000 --> 00:00:32,000\nMind the gap.\n"


def captioner(pause: float = 0.0, model: str = "scripted") -> ScriptedEngine:
    """An engine that says which seconds it sees."""

    def script(prompt: Prompt, sampling: Sampling, n: int) -> Iterable[str]:
        call = RecordedCall(prompt, sampling, n)
        return [f"grey from second {int(call.times[0])}" if call.times else "it grows brighter"] * n

    return ScriptedEngine(script, pause=pause, model=model)


def with_index(settings: Settings, **wishes: Any) -> Settings:
    return settings.model_copy(update={"index": settings.index.model_copy(update=wishes)})


async def build(client: httpx.AsyncClient, video_path: Path, **wishes: Any) -> dict[str, Any]:
    """Ask for an index and wait until it is no longer being built."""
    response = await client.post("/v1/indexes", json={"video": {"path": str(video_path)}, **wishes})
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
