"""A service to talk to: real videos, a scripted engine, over ASGI or over a real socket."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn

from agents.engines.base import Engine, Prompt, Sampling
from agents.engines.scripted import ScriptedEngine, ScriptLine
from app.db.session import Database
from app.main import create_app
from app.settings import Settings
from app.telemetry.observers import Tracing
from tests.waiting import until

COLOURS = ("red", "green", "blue", "grey")
Serving = Callable[..., AbstractAsyncContextManager[httpx.AsyncClient]]


def always(letter: str, probability: float = 0.97) -> Callable[[Prompt, Sampling, int], list[ScriptLine]]:
    """A script that always prefers one option, by probability where it is asked for that, else in words."""

    def line(sampling: Sampling) -> ScriptLine:
        if not sampling.choices:
            return f"Answer: {letter}"
        rest = (1 - probability) / (len(sampling.choices) - 1)
        return {each: probability if each == letter else rest for each in sampling.choices}

    return lambda _, sampling, n: [line(sampling)] * n


def body(video_path: Path, **fields: Any) -> dict[str, Any]:
    """A good request, with some fields changed."""
    good = {
        "video": {"path": str(video_path)},
        "question": "Which colour is seen?",
        "options": list(COLOURS),
        "strategy": "direct",
    }
    return {**good, **fields}


@pytest.fixture
def records(tmp_path: Path) -> Iterator[Database]:
    """An empty database."""
    records = Database(f"sqlite:///{tmp_path / 'records.sqlite'}")
    records.open()
    yield records
    records.close()


@pytest.fixture
def anyio_backend() -> str:
    """Async tests run on asyncio."""
    return "asyncio"


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("SECONDLOOK_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("SECONDLOOK_SANDBOX", "off")  # starting processes for every test takes too long


@pytest.fixture
def settings(tmp_path: Path, video_path: Path) -> Settings:
    """Settings that may read the test video and keep uploads in a fresh folder."""
    return Settings(data_dir=tmp_path / "data", video_dir=video_path.parent)


@pytest.fixture
def engine() -> ScriptedEngine:
    """An engine that always says A."""
    return ScriptedEngine(always("A"))


@asynccontextmanager
async def over_asgi(
    settings: Settings, engine: Engine | None = None, tracing: Tracing | None = None
) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a service in this process. It buffers whole responses."""
    app = create_app(settings, engine, tracing)
    transport = httpx.ASGITransport(app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://localhost") as client,
    ):
        yield client


@asynccontextmanager
async def over_socket(settings: Settings, engine: Engine | None = None) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a real server on loopback: for streams, and for clients that leave."""
    app = create_app(settings, engine)
    config = uvicorn.Config(app, port=0, log_level="error", timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    serving = asyncio.ensure_future(server.serve())
    await until(lambda: server.started, serving)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
            yield client
    finally:
        server.should_exit = True
        await serving
