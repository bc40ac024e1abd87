"""The vllm engine with the real server: it comes up warm, comes back when a part is killed, and goes as a whole."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from agents.demo import WEIGHTS
from agents.demo.questions import DemoQuestion
from agents.engines.base import EngineError
from agents.engines.registry import open_engine
from agents.engines.vllm.engine import VllmEngine
from app.settings import Settings
from tests.app.conftest import over_asgi
from tests.vllm.install import install, installed, python
from tests.vllm.server import SURROUNDINGS
from tests.vllm.service import asking

pytestmark = [pytest.mark.vllm, pytest.mark.anyio]
_FLAGS = "enforce-eager=true&dtype=float32&block-size=32"
_SECONDS = 600.0  # a restart takes about a minute on two idle cores, and minutes on busy ones


def family(root: int) -> Iterator[tuple[int, str]]:
    """The processes below one, each with its command."""
    lines = subprocess.run(["ps", "-ewwo", "pid=,ppid=,args="], check=True, capture_output=True, text=True).stdout
    rows = [(int(pid), int(parent), command) for pid, parent, command in map(_split, lines.splitlines())]
    below = {root}
    while more := {pid for pid, parent, _ in rows if parent in below} - below:
        below |= more
    return ((pid, command) for pid, _, command in rows if pid in below - {root})


def _split(line: str) -> list[str]:
    return line.split(maxsplit=2)


def _the_server() -> dict[int, str]:
    """All processes of the server that this process started: the guard's and below."""
    (guard,) = (pid for pid, command in family(os.getpid()) if "guard.py" in command and "agents" in command)
    return {guard: "guard", **dict(family(guard))}


@pytest.fixture
def address(monkeypatch: pytest.MonkeyPatch) -> str:
    """An engine with the demo model, on a CPU."""
    if not installed():
        install()
    for name, value in SURROUNDINGS.items():
        monkeypatch.setenv(name, value)
    return f"vllm:{WEIGHTS}?python={python()}&{_FLAGS}"


@asynccontextmanager
async def opened(address: str) -> AsyncIterator[VllmEngine]:
    """The engine, closed in the end."""
    engine = open_engine(address)
    assert isinstance(engine, VllmEngine)
    try:
        yield engine
    finally:
        await engine.close()


async def test_it_comes_back_when_its_engine_core_is_killed_and_leaves_nothing(
    address: str, videos: list[tuple[Path, list[DemoQuestion]]], tmp_path: Path
) -> None:
    video, (question, *_) = videos[0]
    body = asking(video, question, "direct")
    settings = Settings(video_dir=video.parent, data_dir=tmp_path)
    async with opened(address) as engine, asyncio.timeout(3 * _SECONDS):
        await engine.probe()
        async with over_asgi(settings, engine) as client:
            before = (await client.post("/v1/answers", json=body)).json()
            assert before["answer"] == question.answer
            old = _the_server()
            (core,) = (pid for pid, command in old.items() if "EngineCore" in command)

            os.kill(core, signal.SIGKILL)
            began = time.monotonic()
            while (response := await client.post("/v1/answers", json=body)).status_code == 200:
                pass
            assert response.status_code == 503
            assert time.monotonic() - began < 20
            while (await client.get("/ready")).status_code == 200:
                await asyncio.sleep(0.1)
            assert not old.keys() & dict(family(os.getpid())).keys()

            while (await client.get("/ready")).status_code == 503:
                await asyncio.sleep(0.1)
            after = (await client.post("/v1/answers", json=body)).json()
            assert after["answer"] == before["answer"]
            assert after["confidence"] == pytest.approx(before["confidence"], abs=1e-3)
        last = _the_server()
    assert not last.keys() & dict(family(1)).keys()


async def test_what_it_cannot_start_with_is_said_in_its_own_words(address: str) -> None:
    async with opened(f"{address}&max-model-len=999999") as engine:
        with pytest.raises(
            EngineError, match=r"did not start: it ended with status 1\n(.*\n)*.*max_model_len \(999999\)"
        ):
            await engine.probe()
    async with opened(f"{address}&frobnicate=1") as engine:
        with pytest.raises(EngineError, match=r"does not know an option(.*\n)*.*--frobnicate=1"):
            await engine.probe()
