"""OpenAI's own client, unchanged, against a real server on loopback."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import openai
import pytest
from openai import AsyncOpenAI
from pydantic import BaseModel

from agents.engines.base import EngineError, Prompt, Sampling
from agents.engines.scripted import ScriptedEngine, ScriptLine
from app.settings import Settings
from tests.app.chat.scene import CHOICE, OPEN, filmed, says, shown
from tests.app.conftest import always, over_socket

pytestmark = pytest.mark.anyio
DIRECT = {"secondlook": {"strategy": {"name": "direct", "frames": 4}}}


@asynccontextmanager
async def sdk(settings: Settings, engine: ScriptedEngine, **options: Any) -> AsyncIterator[AsyncOpenAI]:
    """A client of a service."""
    async with (
        over_socket(settings, engine) as served,
        AsyncOpenAI(base_url=f"{served.base_url}/v1", api_key="none", **options) as client,
    ):
        yield client


def asks(*parts: dict[str, Any] | str) -> Any:
    """Messages. The SDK's types know no video, so they are not used."""
    return [says("user", *parts)]


async def test_a_video_is_asked_about(settings: Settings, engine: ScriptedEngine, video_path: Path) -> None:
    async with sdk(settings, engine) as client:
        found = await client.chat.completions.create(
            model="scripted", messages=asks(filmed(video_path), CHOICE), extra_body=DIRECT
        )
    assert found.choices[0].message.content == "A"
    assert found.choices[0].finish_reason == "stop"
    assert found.usage is not None
    assert found.usage.prompt_tokens_details is not None
    assert found.usage.total_tokens == found.usage.prompt_tokens + 1
    assert found.model_extra is not None
    assert found.model_extra["secondlook"]["confidence"] == 0.97
    assert found._request_id


async def test_a_stream_survives_with_pings_steps_and_usage(settings: Settings) -> None:
    engine = ScriptedEngine(lambda _p, _s, n: ["Red first.\nAnswer: A"] * n, pause=0.2)
    extra = {"secondlook": {"strategy": {"name": "chain_of_thought", "frames": 2}, "steps": True}}
    async with sdk(settings.model_copy(update={"ping_seconds": 0.05}), engine) as client:
        stream = await client.chat.completions.create(
            model="scripted",
            messages=asks(*shown(0, 50), CHOICE),
            stream=True,
            stream_options={"include_usage": True},
            extra_body=extra,
        )
        found = [chunk async for chunk in stream]
    assert "".join(chunk.choices[0].delta.content or "" for chunk in found if chunk.choices) == "A"
    reasoning = [(chunk.choices[0].delta.model_extra or {}).get("reasoning") for chunk in found if chunk.choices]
    assert "Red first." in "".join(filter(None, reasoning))
    steps = [(chunk.model_extra or {}).get("secondlook", {}).get("step") for chunk in found]
    assert [step["event"] for step in steps if step] == ["looked", "asked", "proposed", "stopped"]
    assert [bool(chunk.choices) for chunk in found] == [True] * (len(found) - 1) + [False]
    assert found[-1].usage is not None


async def test_models_and_files(settings: Settings, engine: ScriptedEngine, video_path: Path) -> None:
    async with sdk(settings, engine) as client:
        names = [model.id async for model in client.models.list()]
        assert (await client.models.retrieve("scripted:direct")).id == "scripted:direct"
        file = await client.files.create(file=video_path, purpose="user_data")
        part = {"type": "file", "file": {"file_id": file.id}}
        found = await client.chat.completions.create(model="scripted:direct", messages=asks(part, CHOICE))
    assert "scripted:direct" in names
    assert found.choices[0].message.content == "A"


async def test_parsed_answers(settings: Settings, engine: ScriptedEngine) -> None:
    class Colour(BaseModel):
        answer: str

    async with sdk(settings, engine) as client:
        found = await client.chat.completions.parse(
            model="scripted", messages=asks(*shown(0), CHOICE), response_format=Colour, extra_body=DIRECT
        )
    assert found.choices[0].message.parsed == Colour(answer="A")


@pytest.mark.parametrize(
    ("change", "kind", "code"),
    [
        ({"model": "gpt-4o"}, openai.NotFoundError, "model_not_found"),
        ({"temperature": 9}, openai.BadRequestError, "invalid_value"),
        ({"messages": asks("hm")}, openai.BadRequestError, "missing_video"),
    ],
)
async def test_errors_are_the_clients_own(
    settings: Settings, engine: ScriptedEngine, change: dict[str, Any], kind: type[openai.APIStatusError], code: str
) -> None:
    request: dict[str, Any] = {"model": "scripted", "messages": asks(*shown(0), CHOICE), **change}
    async with sdk(settings, engine) as client:
        with pytest.raises(kind) as caught:
            await client.chat.completions.create(**request)
    assert caught.value.code == code
    assert caught.value.type == ("not_found_error" if kind is openai.NotFoundError else "invalid_request_error")
    assert caught.value.request_id


def failing(times: int) -> Callable[[Prompt, Sampling, int], list[ScriptLine]]:
    """An engine that is down for so many calls."""
    left = [times]

    def script(prompt: Prompt, sampling: Sampling, n: int) -> list[ScriptLine]:
        left[0] -= 1
        if left[0] >= 0:
            raise EngineError("the model server is down")
        return always("A")(prompt, sampling, n)

    return script


async def test_a_failure_in_mid_stream_is_raised(settings: Settings) -> None:
    async with sdk(settings, ScriptedEngine(failing(1))) as client:
        stream = await client.chat.completions.create(
            model="scripted", messages=asks(*shown(0), CHOICE), stream=True, extra_body=DIRECT
        )
        with pytest.raises(openai.APIError, match="the model server is down"):
            async for _ in stream:
                pass


async def test_what_may_pass_is_tried_again_and_what_is_final_is_not(settings: Settings) -> None:
    engine = ScriptedEngine(failing(1))
    async with sdk(settings, engine) as client:
        asked: dict[str, Any] = {"model": "scripted", "messages": asks(*shown(0), CHOICE), "extra_body": DIRECT}
        raw = await client.chat.completions.with_raw_response.create(**asked)
        assert (raw.retries_taken, len(engine.calls)) == (1, 2)
        key = {"idempotency-key": "k"}
        await client.chat.completions.create(**asked, extra_headers=key)
        calls = len(engine.calls)
        with pytest.raises(openai.ConflictError) as caught:
            await client.chat.completions.create(**{**asked, "seed": 7}, extra_headers=key)
    assert caught.value.code == "idempotency_key_reused"
    assert len(engine.calls) == calls


async def test_a_client_in_a_hurry_gets_the_best_answer_so_far(settings: Settings) -> None:
    slow = ScriptedEngine(always("A"), pause=30)
    async with sdk(settings, slow, timeout=1.5, max_retries=0) as client:
        found = await client.chat.completions.create(model="scripted", messages=asks(*shown(0), CHOICE))
    assert found.choices[0].finish_reason == "length"
    assert (found.model_extra or {})["secondlook"]["report"]["stopped"] == "budget"


async def test_many_at_once(settings: Settings) -> None:
    engine = ScriptedEngine(lambda _p, sampling, n: [f"reply {sampling.seed}"] * n)
    async with sdk(settings, engine) as client:
        found = await asyncio.gather(
            *(client.chat.completions.create(model="scripted", messages=asks(*shown(0), OPEN)) for _ in range(12))
        )
    assert len({each.id for each in found}) == 12
