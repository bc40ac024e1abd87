"""What the service asks the model server, byte for byte."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from socket import create_server

import httpx
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

_PASSED = ("content-type", "authorization")


@dataclass
class Recorder:
    """A proxy in front of a server. It keeps the bodies of chat completions that were answered well."""

    root: str
    bodies: list[bytes] = field(default_factory=list)


@asynccontextmanager
async def recording(root: str) -> AsyncIterator[Recorder]:
    """A recorder for the server at `root`; its own `root` is where to ask it."""
    listening = create_server(("127.0.0.1", 0))
    recorder = Recorder(f"http://127.0.0.1:{listening.getsockname()[1]}")
    async with httpx.AsyncClient(base_url=root, timeout=600) as behind:

        async def forward(request: Request) -> Response:
            body = await request.body()
            headers = {name: request.headers[name] for name in _PASSED if name in request.headers}
            answer = await behind.request(request.method, request.url.path, content=body, headers=headers)
            if answer.is_success and request.url.path.endswith("/chat/completions"):
                recorder.bodies.append(body)
            kind = answer.headers.get("content-type")
            return Response(answer.content, answer.status_code, media_type=kind)

        app = Starlette(routes=[Route("/{path:path}", forward, methods=["GET", "POST"])])
        server = uvicorn.Server(uvicorn.Config(app, log_level="error", lifespan="off"))
        serving = asyncio.ensure_future(server.serve(sockets=[listening]))
        try:
            yield recorder
        finally:
            server.should_exit = True
            await serving
