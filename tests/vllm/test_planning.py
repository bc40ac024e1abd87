"""The demo model plans on vLLM as it does in process: it calls a tool, reads what comes of it, and is right."""

from __future__ import annotations

import asyncio
from pathlib import Path

import httpx
import pytest

from agents.demo.encoder import encode_video, subtitles_srt
from agents.demo.generator import TEST_FROM, DemoVideo, make_signed_video, make_video
from agents.demo.questions import NEEDLE, SAID, SIGN, DemoQuestion, ask_about
from tests.vllm.service import asking

pytestmark = [pytest.mark.vllm, pytest.mark.anyio]

_SIGNED = 12
_MINUTES = 5.0
_ZOOM = {"name": "planner", "tools": ["zoom"], "frames": 16, "review": True, "max_tokens": 32}
_SEEK = {**_ZOOM, "tools": ["search_clips"], "frames": 4, "shown": False, "hits": 3, "proof": 4}


@pytest.fixture(scope="module")
def folder(videos: list[tuple[Path, list[DemoQuestion]]]) -> Path:
    """Where the service may read videos."""
    return videos[0][0].parent


async def test_zooms_to_read_what_is_too_small(service: httpx.AsyncClient, folder: Path) -> None:
    made = [make_signed_video(TEST_FROM + 800 + number) for number in range(_SIGNED)]
    asked = [(_written(video, folder), ask_about(video, 1, SIGN)[0]) for video in made]
    right, called = await _marks(service, asked, _ZOOM)
    assert called == _SIGNED
    assert right >= 0.6 * _SIGNED, "a guess is right in one of four"


async def test_searches_captions_and_speech_of_a_longer_video(service: httpx.AsyncClient, folder: Path) -> None:
    video = make_video(TEST_FROM + 850, _MINUTES)
    path = _written(video, folder)
    path.with_suffix(".srt").write_text(subtitles_srt(video), encoding="utf-8")
    await _indexed(service, path)
    asked = [(path, question) for kinds in (NEEDLE, SAID) for question in ask_about(video, 4, kinds)]
    right, called = await _marks(service, asked, _SEEK)
    assert called == len(asked)
    assert right >= 0.6 * len(asked), "a guess is right in one of four"


def _written(video: DemoVideo, folder: Path) -> Path:
    path = folder / f"{video.seed}.mp4"
    encode_video(video, path)
    return path


async def _indexed(service: httpx.AsyncClient, path: Path) -> None:
    built = await service.post("/v1/indexes", json={"video": {"path": str(path)}, "level": 10})
    assert built.is_success, built.text
    index = built.json()
    async with asyncio.timeout(300):
        while index["status"] in ("queued", "building"):
            await asyncio.sleep(0.5)
            index = (await service.get(f"/v1/indexes/{index['id']}")).json()
    assert index["levels"][0]["captioned"] == index["levels"][0]["clips"], index


async def _marks(
    service: httpx.AsyncClient, asked: list[tuple[Path, DemoQuestion]], strategy: dict[str, object]
) -> tuple[int, int]:
    """How many answers are right, and in how many runs a tool was called."""
    answers = []
    for path, question in asked:
        response = await service.post("/v1/answers", json=asking(path, question, strategy))
        assert response.status_code == 200, response.text
        answers.append((response.json(), question))
    right = sum(answer["answer"] == question.answer for answer, question in answers)
    return right, sum(answer["report"]["tool_calls"] > 0 for answer, _ in answers)
