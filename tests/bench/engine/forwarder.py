"""The least that a service in front of a model server can be: it forwards a chat completion, and does nothing else.

python -m tests.bench.engine.forwarder PORT ROOT
"""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import uvicorn
from fastapi import FastAPI, Request, Response

from tests.vllm.child import Child, free_port

_JSON = "application/json"


class Forwarder(Child):
    """As a child process, by uvicorn, in front of the server at `root`."""

    def __init__(self, root: str, folder: Path) -> None:
        port = free_port()
        command = [sys.executable, "-m", "tests.bench.engine.forwarder", str(port), root]
        super().__init__(command, port, folder / f"forwarder-{port}.log", health="/health", surroundings={})


def forwarding(root: str) -> FastAPI:
    """The application."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with aiohttp.ClientSession() as app.state.session:
            yield

    app = FastAPI(lifespan=lifespan)

    @app.post("/v1/chat/completions")
    async def forward(request: Request) -> Response:
        body = await request.body()
        url = f"{root}/v1/chat/completions"
        async with request.app.state.session.post(url, data=body, headers={"content-type": _JSON}) as response:
            return Response(await response.read(), response.status, media_type=_JSON)

    @app.get("/health")
    async def health() -> None:
        """It is up."""

    return app


if __name__ == "__main__":
    uvicorn.run(forwarding(sys.argv[2]), port=int(sys.argv[1]), log_level="error", access_log=False)
