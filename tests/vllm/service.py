"""Our service in front of a real vLLM server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx

from agents.demo.questions import DemoQuestion
from app.settings import Settings
from tests.app.conftest import over_asgi
from tests.vllm.server import Server


def engine_url(server: Server) -> str:
    """The engine that asks a server; what its model is like, its profile says."""
    return f"openai:{server.url}"


@asynccontextmanager
async def serving(server: Server, videos: Path, data: Path, **settings: Any) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the service, once it is ready. It may read the videos and keeps its own files under `data`."""
    chosen = Settings(**{"engine": engine_url(server), "video_dir": videos, "data_dir": data, **settings})
    async with over_asgi(chosen) as client:
        async with asyncio.timeout(60):
            while not (await client.get("/ready")).is_success:
                await asyncio.sleep(0.1)
        client.timeout = httpx.Timeout(120)
        yield client


def asking(video_path: Path, question: DemoQuestion, strategy: Any, **fields: Any) -> dict[str, Any]:
    """A request with a question about a video."""
    how = {"options": list(question.options)} if question.options else {"kind": "yesno"}
    return {
        "video": {"path": str(video_path)},
        "question": question.text,
        "strategy": strategy,
        "seed": 7,
        **how,
        **fields,
    }
