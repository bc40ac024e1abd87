"""The service decodes in confined processes that live and end with it, and with them whoever stops waiting."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event

import pytest

from agents.engines.scripted import ScriptedEngine
from app.settings import Settings
from app.videos import SandboxUnavailable, VideoLoader, decoder_running, make_decoder
from tests.app.conftest import body, over_asgi
from tests.waiting import until
from tools.sandbox.client import Sandbox
from tools.sandbox.tasks import SandboxReport
from tools.video.decoders import InProcessDecoder
from tools.video.limits import DecodingStopped, VideoLimits
from tools.video.probe import ProbedVideo

pytestmark = pytest.mark.anyio


@pytest.fixture
def confined(settings: Settings) -> Settings:
    """Settings as they are by default."""
    return settings.model_copy(update={"sandbox": "on"})


async def test_questions_are_answered_out_of_process(
    confined: Settings, engine: ScriptedEngine, video_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "secondlook"):
        async with over_asgi(confined, engine) as client:
            response = await client.post("/v1/answers", json=body(video_path))
            bad = video_path.parent / "bad.mp4"
            bad.write_text("no film")
            refused = await client.post("/v1/answers", json=body(bad))
    assert (response.status_code, response.json()["answer"]) == (200, "red")
    assert response.json()["report"]["degraded"] == []
    assert (refused.status_code, refused.json()["error"]["code"]) == (422, "unreadable_video")
    assert "decoding is confined by" in caplog.text


async def test_the_settings_reach_the_sandbox(settings: Settings) -> None:
    assert not isinstance(make_decoder(settings), Sandbox)
    assert isinstance(make_decoder(settings.model_copy(update={"sandbox": "required"})), Sandbox)


class Leaky(Sandbox):
    """A sandbox on a machine that cannot confine."""

    @property
    def report(self) -> SandboxReport:
        """What such a machine says."""
        return SandboxReport(means=("rlimits",), open=("the network", "other files"))


async def test_gaps_are_told_or_refused(confined: Settings, caplog: pytest.LogCaptureFixture) -> None:
    async with decoder_running(Leaky(), confined):
        pass
    assert "does not keep it from: the network, other files" in caplog.text
    with pytest.raises(SandboxUnavailable, match="the network"):
        async with decoder_running(Leaky(), confined.model_copy(update={"sandbox": "required"})):
            raise AssertionError


@dataclass(frozen=True)
class Stuck(InProcessDecoder):
    """A decoder that only ends when told to, and counts how often it was."""

    ended: list[Path] = field(default_factory=list)

    def probe(self, path: Path, limits: VideoLimits, stop: Event | None = None) -> ProbedVideo:
        """Wait to be stopped."""
        assert path and limits and stop is not None
        assert stop.wait(10)
        self.ended.append(path)
        raise DecodingStopped


async def test_opening_stops_when_nobody_waits_and_holds_up_no_file(confined: Settings, video_path: Path) -> None:
    async with decoder_running(Sandbox(), confined):
        stuck = Stuck()
        videos = VideoLoader(confined, stuck)
        opening = [asyncio.ensure_future(videos.probe(video_path)) for _ in range(40)]
        await asyncio.sleep(0.05)
        async with asyncio.timeout(2):
            assert await asyncio.to_thread(video_path.read_bytes)
        for each in opening:
            each.cancel()
        await asyncio.gather(*opening, return_exceptions=True)
        await until(lambda: len(stuck.ended) == 40, seconds=5)
