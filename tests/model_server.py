"""A stub model server in its own process: `python -m tests.model_server PORT SECONDS` answers after so many seconds.

`GET /active` tells how many questions wait for their answers; `POST /pause/SECONDS` changes the time.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import httpx
import uvicorn

from tests.agents.engines.stub import Answer, Json, Receive, Scope, Send, Stub, is_probe, models, talkative
from tests.service import ROOT, free_port, until


class Slow:
    """The application: a stub that takes its time."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.active = 0
        self.stub = Stub(self._answer, models())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One HTTP request."""
        if scope["type"] != "http":
            return
        name, _, value = scope["path"].strip("/").partition("/")
        if name in ("active", "pause"):
            self.seconds = float(value) if name == "pause" else self.seconds
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": json.dumps(self.active).encode()})
            return
        self.active += scope["path"].endswith("/chat/completions")
        try:
            await self.stub.respond(scope, receive, send)
        finally:
            self.active -= scope["path"].endswith("/chat/completions")

    def _answer(self, body: Json) -> Answer:
        return talkative(body) if is_probe(body) else replace(talkative(body), pause=self.seconds)


class Model:
    """The server as a process, from outside."""

    def __init__(self) -> None:
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def engine(self) -> str:
        """What a service calls it."""
        return f"openai:http://127.0.0.1:{self.port}/v1?model=stub-vl"

    @property
    def active(self) -> int:
        """Questions that wait for their answers."""
        return int(httpx.get(f"http://127.0.0.1:{self.port}/active", trust_env=False).json())

    def start(self, seconds: float = 0.0) -> None:
        """Return when it answers."""
        command = [sys.executable, "-m", "tests.model_server", str(self.port), str(seconds)]
        self._process = subprocess.Popen(command, cwd=ROOT)
        until(self._answers, 30)

    def pause(self, seconds: float) -> None:
        """Answer after so many seconds from now on."""
        httpx.post(f"http://127.0.0.1:{self.port}/pause/{seconds}", trust_env=False)

    def kill(self) -> None:
        """As the kernel does to what takes too much memory."""
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait(10)
        self._process = None

    def _answers(self) -> bool:
        try:
            return self.active == 0
        except httpx.TransportError:
            return False


@contextmanager
def modelling(seconds: float = 0.0) -> Iterator[Model]:
    """A model server that is gone at the end."""
    model = Model()
    model.start(seconds)
    try:
        yield model
    finally:
        model.kill()


if __name__ == "__main__":
    uvicorn.run(Slow(float(sys.argv[2])), port=int(sys.argv[1]), log_level="error", ws="none", lifespan="off")
