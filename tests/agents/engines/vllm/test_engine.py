"""The vllm engine starts a server, warms it up, keeps it alive and ends it; here with a program that acts like vLLM."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import numpy as np
import pytest

from agents.engines.base import EngineError, Message, Picture, Sampling
from agents.engines.registry import open_engine
from agents.engines.vllm.engine import VllmEngine
from tests.agents.engines.fake_vllm import ROOT, Diary, interpreter
from tests.agents.engines.strip import words
from tests.agents.engines.vllm.test_guard import alive, wait_until_dead
from tests.waiting import until
from tools.video.frame import Frame

pytestmark = pytest.mark.anyio
Opening = Callable[..., AbstractAsyncContextManager[VllmEngine]]


@pytest.fixture
def anyio_backend() -> str:
    """Async tests run on asyncio."""
    return "asyncio"


@pytest.fixture
def diary(tmp_path: Path) -> Diary:
    """What the server goes through."""
    return Diary(tmp_path / "diary")


@pytest.fixture
def address(tmp_path: Path, diary: Diary) -> Callable[..., str]:
    """The address of an engine whose server behaves as asked."""
    python = interpreter(tmp_path)

    def write(**options: object) -> str:
        usual = {"python": python, "diary": diary.path, "name": "stub-vl", "pause": 0.05, "grace": 0.5}
        pairs = (f"{name.replace('_', '-')}={value}" for name, value in {**usual, **options}.items())
        return f"vllm:some/model?{'&'.join(pairs)}"

    return write


@pytest.fixture
def opening(address: Callable[..., str], diary: Diary) -> Opening:
    """Engines that are closed again; nothing of their servers may be left then."""

    @asynccontextmanager
    async def open_(**options: object) -> AsyncIterator[VllmEngine]:
        engine = open_engine(address(**options))
        assert isinstance(engine, VllmEngine)
        try:
            yield engine
        finally:
            await engine.close()
            assert not [pid for pid in diary.pids if alive(pid)]

    return open_


async def said(engine: VllmEngine) -> str:
    """What it replies."""
    return (await engine.generate(words("?"), Sampling(max_tokens=4), 1)).replies[0].text


def kill(diary: Diary) -> None:
    """Kill the server that was born last."""
    os.kill(diary.pids[0] if len(diary.read("born")) == 1 else diary.read("born")[-1]["pids"][0], signal.SIGKILL)


async def test_it_is_ready_only_when_it_is_healthy_and_warm(opening: Opening, diary: Diary) -> None:
    async with opening(loading=0.4) as engine:
        assert engine.problem is not None
        began = time.monotonic()
        await engine.probe()
        assert time.monotonic() - began >= 0.4
        assert engine.problem is None
        asked = [each["kind"] for each in diary.read("asked")]
        assert ["pictures"] in asked and any("guided" in each for each in asked)
        assert {"logprobs", "choices"} <= engine.capabilities
        assert await said(engine) == "same"
        picture = Picture(Frame(1.0, np.zeros((8, 8, 3), np.uint8)), "one")
        prompt = (Message("user", (picture, "?")),)
        assert (await engine.for_tenant("me").generate(prompt, Sampling(), 1)).prompt_tokens > 20
        assert engine.picture_tokens(prompt) >= engine.frame_tokens(8) > 0
        assert await engine.count("four") >= 1


async def test_before_it_is_started_nothing_can_be_asked(opening: Opening, diary: Diary) -> None:
    async with opening() as engine:
        with pytest.raises(EngineError, match="being started"):
            await said(engine)
        assert not diary.path.exists()


async def test_no_argument_and_no_log_holds_the_key_and_no_setting_reaches_the_server(
    opening: Opening, diary: Diary, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECONDLOOK_API_KEY", "ours alone")
    with caplog.at_level(logging.INFO, "secondlook.vllm"):
        async with opening() as engine:
            await engine.probe()
    (born,) = diary.read("born")
    assert len(born["key"]) >= 32
    assert born["key"] not in " ".join(born["arguments"]) + caplog.text
    assert "SECONDLOOK_API_KEY" not in born["environment"]
    assert "vllm: (APIServer pid=" in caplog.text and "key ***" in caplog.text


async def test_proxies_are_not_asked(opening: Opening, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    async with opening() as engine:
        await engine.probe()
        assert await said(engine) == "same"


async def test_closing_asks_it_to_end(opening: Opening, diary: Diary) -> None:
    async with opening() as engine:
        await engine.probe()
    assert len(diary.read("asked to end")) == 1
    with pytest.raises(EngineError, match="stopped"):
        await said(engine)


async def test_closing_ends_the_whole_family_even_if_it_is_deaf(opening: Opening, diary: Diary) -> None:
    async with opening(deaf="", offspring="", grace=0.2) as engine:
        await engine.probe()
        assert len(diary.pids) == 3 and all(map(alive, diary.pids))
        began = time.monotonic()
    assert 0.2 <= time.monotonic() - began < 5


async def test_it_can_be_closed_while_it_starts(opening: Opening, diary: Diary) -> None:
    async with opening(loading=600) as engine:
        starting = asyncio.ensure_future(engine.probe())
        await until(diary.path.exists)
        starting.cancel()
        await asyncio.wait({starting})
    assert starting.cancelled()


async def test_a_dead_server_is_started_again_and_answers_again(
    opening: Opening, diary: Diary, caplog: pytest.LogCaptureFixture
) -> None:
    async with opening(loading=0.3, offspring="") as engine:
        await engine.probe()
        first = diary.pids
        kill(diary)
        await until(lambda: engine.problem)
        with pytest.raises(EngineError, match="being started again"):
            await said(engine)
        assert not [pid for pid in first if alive(pid)]
        before = len(diary.read("asked"))
        await until(lambda: engine.problem is None)
        assert await said(engine) == "same"
        born, warm = diary.read("born"), [each["kind"] for each in diary.read("asked")[before:]]
        assert len(born) == 2 and born[0]["key"] == born[1]["key"]
        assert ["pictures"] in warm and any("guided" in each for each in warm)
    assert "died: it ended with signal 9" in caplog.text


async def test_what_is_asked_when_it_dies_fails_at_once(opening: Opening, diary: Diary) -> None:
    async with opening() as engine:
        await engine.probe()
        asking = [asyncio.ensure_future(said(engine)) for _ in range(4)]
        await asyncio.sleep(0)
        kill(diary)
        began = time.monotonic()
        results = await asyncio.gather(*asking, return_exceptions=True)
        assert time.monotonic() - began < 3
        assert {type(each) for each in results} == {EngineError}
        assert all("being started again" in str(each) for each in results)


async def test_a_cancelled_question_does_not_stop_the_server(opening: Opening, diary: Diary) -> None:
    async with opening() as engine:
        await engine.probe()
        asking = asyncio.ensure_future(said(engine))
        await asyncio.sleep(0)
        asking.cancel()
        await asyncio.wait({asking})
        assert asking.cancelled()
        assert await said(engine) == "same"
        assert len(diary.read("born")) == 1


async def test_restarts_wait_longer_each_time_and_end(
    opening: Opening, diary: Diary, caplog: pytest.LogCaptureFixture
) -> None:
    async with opening(lives=1, pause=0.1, restarts=3) as engine:
        await engine.probe()
        kill(diary)
        await until(lambda: "not started again" in (engine.problem or ""))
        with pytest.raises(EngineError, match="keeps dying"):
            await said(engine)
        born = [each["at"] for each in diary.read("born")]
        assert len(born) == 4
        assert born[3] - born[2] >= 0.4 and born[2] - born[1] >= 0.2
    assert [each.levelname for each in caplog.records].count("CRITICAL") == 1


async def test_one_that_cannot_start_is_told_with_its_last_words(
    opening: Opening, diary: Diary, tmp_path: Path
) -> None:
    last = tmp_path / "words"
    last.write_text("Traceback (most recent call last):\ntorch.OutOfMemoryError: CUDA out of memory.\n")
    async with opening(lives=0, words=last) as engine:
        with pytest.raises(EngineError) as caught:
            await engine.probe()
        assert "the model server of stub-vl did not start: it ended with status 1" in str(caught.value)
        assert "it does not fit into memory" in str(caught.value)
        assert str(caught.value).endswith("\n  torch.OutOfMemoryError: CUDA out of memory.")
        assert len(diary.read("born")) == 1  # whoever opened it decides whether to try again


async def test_one_without_vllm_says_how_to_get_it(opening: Opening, tmp_path: Path) -> None:
    bare = tmp_path / "bare"
    bare.write_text(f'#!/bin/sh\nexec {sys.executable} -S "$@"\n')  # no packages at all
    bare.chmod(0o755)
    async with opening(python=bare) as engine:
        with pytest.raises(EngineError, match=r"vLLM is not installed for .*bare: pip install") as caught:
            await engine.probe()
    assert '"secondlook[vllm]"' in str(caught.value)


async def test_one_that_takes_too_long_is_ended(opening: Opening) -> None:
    async with opening(loading=600, startup=0.5) as engine:
        with pytest.raises(EngineError, match=r"not ready after 0.5 s, which \?startup= sets"):
            await engine.probe()


async def test_nothing_outlives_a_service_that_is_killed(address: Callable[..., str], diary: Diary) -> None:
    program = f"""
import asyncio
from agents.engines.registry import open_engine
async def main():
    await open_engine({address(offspring="", deaf="", grace=0.1)!r}).probe()
    print("ready", flush=True)
    await asyncio.sleep(600)
asyncio.run(main())
"""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, cwd=ROOT, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    async with asyncio.timeout(60):
        assert await process.stdout.readline() == b"ready\n"
        assert len(diary.pids) == 3 and all(map(alive, diary.pids))
        process.kill()
        await process.wait()
        await asyncio.to_thread(wait_until_dead, diary.pids)
