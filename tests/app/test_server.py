"""Stopping: not ready at once, nothing new, what runs may end within a bound, and then it ends."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from agents.engines.base import Engine
from agents.engines.scripted import ScriptedEngine
from app.main import create_app
from app.server import Server
from app.settings import Settings
from tests.app.conftest import always, body
from tests.waiting import until

pytestmark = pytest.mark.anyio
ROOT = Path(__file__).parents[2]


@asynccontextmanager
async def served(settings: Settings, engine: Engine) -> AsyncIterator[tuple[Server, httpx.AsyncClient]]:
    """A server as `secondlook serve` starts it, which must have ended at the end."""
    server = Server(create_app(settings.model_copy(update={"port": 0}), engine), log_level="error")
    serving = asyncio.ensure_future(server.serve())
    await until(lambda: server.started)
    port = server.servers[0].sockets[0].getsockname()[1]
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
        yield server, client
        async with asyncio.timeout(30):
            await serving


def stop(server: Server) -> None:
    """What happens when the process gets SIGTERM."""
    server.handle_exit(signal.SIGTERM, None)


async def test_runs_may_end_while_new_ones_are_refused(settings: Settings, video_path: Path) -> None:
    engine = ScriptedEngine(always("A"), pause=0.7)
    async with served(settings, engine) as (server, client):
        running = asyncio.ensure_future(client.post("/v1/answers", json=body(video_path)))
        await until(lambda: len(engine.calls) == 1)
        stop(server)
        await asyncio.sleep(0.15)
        ready = await client.get("/ready")
        assert (ready.status_code, ready.json()["error"]["code"]) == (503, "draining")
        refused = await client.post("/v1/answers", json=body(video_path))
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "draining")
        assert int(refused.headers["retry-after"]) > 0
        assert (await client.get("/health")).status_code == 200
        assert (await running).json()["answer"] == "red"


async def test_who_waits_for_a_turn_is_sent_away(settings: Settings, video_path: Path) -> None:
    engine = ScriptedEngine(always("A"), pause=0.5)
    async with served(settings.model_copy(update={"max_runs": 1}), engine) as (server, client):
        both = [asyncio.ensure_future(client.post("/v1/answers", json=body(video_path))) for _ in range(2)]
        await until(lambda: len(engine.calls) == 1)
        stop(server)
        assert sorted([(await each).status_code for each in both]) == [200, 503]


async def test_what_does_not_end_in_time_is_interrupted_and_told(settings: Settings, video_path: Path) -> None:
    engine = ScriptedEngine(always("A"), pause=600)
    async with served(settings.model_copy(update={"drain_seconds": 0.3}), engine) as (server, client):
        running = asyncio.ensure_future(client.post("/v1/answers", json=body(video_path)))
        await until(lambda: len(engine.calls) == 1)
        stop(server)
        response = await running
        assert (response.status_code, response.json()["error"]["code"]) == (503, "draining")
    assert engine.cancelled == 1


async def test_a_second_signal_waits_no_longer(settings: Settings, video_path: Path) -> None:
    engine = ScriptedEngine(always("A"), pause=600)
    async with served(settings.model_copy(update={"drain_seconds": 600}), engine) as (server, client):
        running = asyncio.ensure_future(client.post("/v1/answers", json=body(video_path)))
        await until(lambda: len(engine.calls) == 1)
        stop(server)
        stop(server)
        assert (await running).status_code == 503


async def test_an_idle_service_may_listen_on_for_its_load_balancer(settings: Settings, engine: ScriptedEngine) -> None:
    async with served(settings.model_copy(update={"notice_seconds": 0.6}), engine) as (server, client):
        stop(server)
        began = time.monotonic()
        await asyncio.sleep(0.3)
        assert (await client.get("/ready")).status_code == 503
    assert time.monotonic() - began >= 0.6


SCRIPT = """
from agents.engines.scripted import ScriptedEngine
from app.main import create_app
from app.server import Server
from app.settings import Settings
from tests.app.conftest import always
Server(create_app(Settings(), ScriptedEngine(always("A"), pause=1.0)), log_level="error").run()
"""


async def test_a_process_gets_sigterm_amid_an_answer_and_an_upload(settings: Settings, video_path: Path) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    values = {"DATA_DIR": settings.data_dir, "VIDEO_DIR": settings.video_dir, "PORT": port}
    environment = os.environ | {f"SECONDLOOK_{name}": str(value) for name, value in values.items()}
    process = subprocess.Popen([sys.executable, "-c", SCRIPT], cwd=ROOT, env=environment)
    signalled = asyncio.Event()

    async def upload() -> AsyncIterator[bytes]:
        yield b'--cut\r\nContent-Disposition: form-data; name="file"\r\n\r\n' + video_path.read_bytes()[:2000]
        await signalled.wait()
        yield video_path.read_bytes()[2000:] + b"\r\n--cut--\r\n"

    headers = {"content-type": "multipart/form-data; boundary=cut"}
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=60) as client, asyncio.timeout(60):
            while not await is_ready(client):
                await asyncio.sleep(0.1)
            answer = asyncio.ensure_future(client.post("/v1/answers", json=body(video_path)))
            upload_ = asyncio.ensure_future(client.post("/v1/files", content=upload(), headers=headers))
            while not (await client.get("/v1/runs", params={"status": "running"})).json()["data"]:
                await asyncio.sleep(0.02)
            process.send_signal(signal.SIGTERM)
            await asyncio.sleep(0.3)
            assert (await client.get("/ready")).status_code == 503
            signalled.set()
            assert [(await each).status_code for each in (answer, upload_)] == [200, 200]
            assert await asyncio.to_thread(process.wait, 30) == 0
    finally:
        process.kill()
        process.wait()
    assert len(list((settings.data_dir / "videos").iterdir())) == 1
    assert not list((settings.data_dir / "incoming").iterdir())


async def is_ready(client: httpx.AsyncClient) -> bool:
    """Whether a process listens and has loaded its engine."""
    try:
        return (await client.get("/ready")).status_code == 200
    except httpx.ConnectError:
        return False
