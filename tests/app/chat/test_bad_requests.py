"""What a chat request may not say, and the field that is named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from agents.engines.scripted import ScriptedEngine
from app.settings import Settings
from tests.app.chat.scene import CHOICE, OPEN, chat, filmed, says, shown
from tests.app.conftest import over_asgi

pytestmark = pytest.mark.anyio
VIDEO = {"type": "video_url", "video_url": {"url": "https://example.com/a.mp4"}}
OTHER = {"type": "video_url", "video_url": {"url": "https://example.com/b.mp4"}}
SOUND = {"type": "input_audio", "input_audio": {"data": "", "format": "wav"}}


def talk(*messages: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"model": "scripted", "messages": list(messages), **fields}


CASES: dict[str, tuple[dict[str, Any], int, str, str | None]] = {
    "no model": ({"messages": [says("user", OPEN)]}, 400, "missing_field", "model"),
    "an unknown model": (chat(VIDEO, OPEN, model="gpt-4o"), 404, "model_not_found", "model"),
    "an unknown strategy of the model": (chat(VIDEO, OPEN, model="scripted:x"), 404, "model_not_found", "model"),
    "no messages": (talk(), 400, "invalid_value", "messages"),
    "no media": (chat(OPEN), 400, "missing_video", "messages"),
    "no words": (chat(VIDEO), 400, "invalid_value", "messages"),
    "the assistant has the last word": (
        talk(says("user", VIDEO, OPEN), says("assistant", "It is")), 400, "invalid_value", "messages",
    ),
    "two videos": (chat(VIDEO, OTHER, OPEN), 400, "several_videos", "messages.0.content.1"),
    "a video and a picture": (chat(VIDEO, *shown(9), OPEN), 400, "several_videos", "messages.0.content.1"),
    "sound": (chat(VIDEO, SOUND, OPEN), 400, "unsupported_audio", "messages.0.content.1"),
    "sound by url": (
        chat(VIDEO, {"type": "audio_url", "audio_url": {"url": "x"}}, OPEN), 400, "unsupported_audio",
        "messages.0.content.1",
    ),
    "an answer in sound": (
        chat(VIDEO, OPEN, modalities=["text", "audio"]), 400, "unsupported_audio", "modalities",
    ),
    "an unknown part": (chat({"type": "smell"}, OPEN), 400, "invalid_value", "messages.0.content.0"),
    "a part without its url": (
        chat({"type": "image_url"}, OPEN), 400, "missing_field", "messages.0.content.0.image_url",
    ),
    "a picture without a url": (
        chat({"type": "image_url", "image_url": {}}, OPEN), 400, "missing_field", "messages.0.content.0.image_url.url",
    ),
    "a uuid alone": (
        chat({"type": "video_url", "video_url": {"url": None}, "uuid": "u"}, OPEN), 400, "cache_miss",
        "messages.0.content.0.video_url.url",
    ),
    "a file that is none": (
        chat({"type": "file", "file": {}}, OPEN), 400, "missing_field", "messages.0.content.0.file",
    ),
    "an unknown file": (chat({"type": "file", "file": {"file_id": "file-1"}}, OPEN), 404, "not_found", None),
    "a picture of the system": (
        talk(says("system", *shown(1)), says("user", VIDEO, OPEN)), 400, "unsupported_content", "messages.0.content.0",
    ),
    "the result of a tool": (
        talk(says("user", VIDEO, OPEN), says("tool", "7"), says("user", OPEN)), 400, "unsupported_role",
        "messages.1.role",
    ),
    "a misspelt field of ours": (chat(VIDEO, OPEN, secondlook={"stratgy": "direct"}), 400, "unknown_field",
                                 "secondlook.stratgy"),
    "an unknown strategy": (chat(VIDEO, OPEN, secondlook={"strategy": "x"}), 400, "unknown_strategy", "strategy"),
    "two strategies": (
        chat(VIDEO, OPEN, model="scripted:direct", secondlook={"strategy": "auto"}), 400, "invalid_value",
        "secondlook.strategy",
    ),
    "no options": (chat(VIDEO, OPEN, secondlook={"kind": "choice"}), 400, "missing_options", "secondlook.kind"),
    "too many choices": (chat(VIDEO, OPEN, n=17), 400, "invalid_value", "n"),
    "no choice": (chat(VIDEO, OPEN, n=0), 400, "invalid_value", "n"),
    "a budget for fewer choices": (
        chat(VIDEO, OPEN, n=3, secondlook={"budget": {"calls": 2}}), 400, "invalid_value", "secondlook.budget.calls",
    ),
    "too hot": (chat(VIDEO, OPEN, temperature=2.5), 400, "invalid_value", "temperature"),
    "no schema": (chat(VIDEO, OPEN, response_format={"type": "json_schema"}), 400, "invalid_value", "response_format"),
    "no picture": (
        chat({"type": "image_url", "image_url": {"url": "data:image/png;base64,aGVsbG8="}}, OPEN), 422,
        "unreadable_video", None,
    ),
    "a picture that is text": (
        chat({"type": "image_url", "image_url": {"url": "data:text/plain;base64,aGVsbG8="}}, OPEN), 400, "invalid_url",
        None,
    ),
    "past the end": (chat(*shown(1, 2), OPEN, secondlook={"start": 9}), 400, "invalid_value", "start"),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("stream", [False, True])
async def test_refused_before_anything_is_sent(
    settings: Settings, engine: ScriptedEngine, case: str, stream: bool
) -> None:
    request, status, code, param = CASES[case]
    async with over_asgi(settings, engine) as client:
        response = await client.post("/v1/chat/completions", json={**request, "stream": stream})
    assert response.status_code == status, response.text
    error = response.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert (error["code"], error["param"] if param else None) == (code, param)
    assert not engine.calls


async def test_so_many_pictures_and_no_more(settings: Settings, engine: ScriptedEngine) -> None:
    few = settings.model_copy(update={"max_pictures": 2})
    async with over_asgi(few, engine) as client:
        good = await client.post("/v1/chat/completions", json=chat(*shown(1, 2), CHOICE))
        bad = await client.post("/v1/chat/completions", json=chat(*shown(1, 2, 3), CHOICE))
    assert (good.status_code, bad.status_code) == (200, 400)
    assert bad.json()["error"]["param"] == "video.pictures"


async def test_so_many_choices_and_so_large_a_question(
    settings: Settings, engine: ScriptedEngine, video_path: Path
) -> None:
    small = settings.model_copy(update={"max_choices": 2, "max_question_bytes": 100_000})
    async with over_asgi(small, engine) as client:
        for n, status in ((2, 200), (3, 400)):
            response = await client.post("/v1/chat/completions", json=chat(filmed(video_path), CHOICE, n=n))
            assert response.status_code == status
        large = chat(filmed(video_path), CHOICE, filler="x" * 100_000)
        assert (await client.post("/v1/chat/completions", json=large)).status_code == 413


async def test_never_chosen_by_words_or_headers(settings: Settings, engine: ScriptedEngine, video_path: Path) -> None:
    words = "<strategy>best_of_n</strategy> /budget 1000\n" + CHOICE
    headers = {"x-strategy": "best_of_n", "x-its-budget": "1000", "x-secondlook-strategy": "best_of_n"}
    async with over_asgi(settings, engine) as client:
        request = chat(filmed(video_path), words, user="model:best_of_n")
        found = (await client.post("/v1/chat/completions", json=request, headers=headers)).json()
    assert found["secondlook"]["report"]["strategy"]["preset"] == "auto"
