"""The service decodes in confined processes that live and end with it, and with them whoever stops waiting."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from agents.engines.scripted import ScriptedEngine
from app.decoding import Unconfined, at_work, decoder_for
from app.settings import Settings
from tests.app.conftest import body, over_asgi
from tools.sandbox import Report, Sandbox

pytestmark = pytest.mark.anyio


@pytest.fixture
def confined(settings: Settings) -> Settings:
    """Settings as they are by default."""
    return settings.model_copy(update={"sandbox": "on"})


async def test_questions_are_answered_out_of_process(
    confined: Settings, engine: ScriptedEngine, film: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "secondlook"):
        async with over_asgi(confined, engine) as client:
            response = await client.post("/v1/answers", json=body(film))
            bad = film.parent / "bad.mp4"
            bad.write_text("no film")
            refused = await client.post("/v1/answers", json=body(bad))
    assert (response.status_code, response.json()["answer"]) == (200, "red")
    assert response.json()["report"]["degraded"] == []
    assert (refused.status_code, refused.json()["error"]["code"]) == (422, "unreadable_video")
    assert "decoding is confined by" in caplog.text


async def test_the_settings_reach_the_sandbox(settings: Settings) -> None:
    assert not isinstance(decoder_for(settings), Sandbox)
    assert isinstance(decoder_for(settings.model_copy(update={"sandbox": "required"})), Sandbox)


class Leaky(Sandbox):
    """A sandbox on a machine that cannot confine."""

    @property
    def report(self) -> Report:
        """What such a machine says."""
        return Report(means=("rlimits",), open=("the network", "other files"))


async def test_gaps_are_told_or_refused(confined: Settings, caplog: pytest.LogCaptureFixture) -> None:
    async with at_work(Leaky(), confined):
        pass
    assert "does not keep it from: the network, other files" in caplog.text
    with pytest.raises(Unconfined, match="the network"):
        async with at_work(Leaky(), confined.model_copy(update={"sandbox": "required"})):
            raise AssertionError
