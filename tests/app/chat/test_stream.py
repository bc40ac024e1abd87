"""Streamed replies: word by word from the first step, whole at the end, and never a failure that looks like a reply."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from agents.engines.base import EngineError, Prompt, Sampling
from agents.engines.scripted import ScriptedEngine, ScriptLine
from app.settings import Settings
from tests.app.chat.scene import CHOICE, OPEN, chat, shown
from tests.app.conftest import always, over_asgi, over_socket
from tests.app.test_sse import HeldEngine
from tests.waiting import until

pytestmark = pytest.mark.anyio
PATH = "/v1/chat/completions"
THINK = {"strategy": {"name": "self_consistency", "samples": 2, "frames": 2, "diversity": "temperature"}}


async def chunks(response: httpx.Response) -> AsyncIterator[dict[str, Any] | str]:
    """The chunks of a stream, comments by their colon, and the end by its name."""
    async for line in response.aiter_lines():
        if line.startswith("data: "):
            yield json.loads(line[6:]) if line != "data: [DONE]" else "[DONE]"
        elif line:
            yield line[:1]


def whole(text: str) -> list[Any]:
    """All chunks of a stream that is over, and its end by its name."""
    lines = [line.removeprefix("data: ") for line in text.splitlines() if line]
    return [line if line == "[DONE]" else json.loads(line) for line in lines]


async def streamed(settings: Settings, engine: ScriptedEngine, **fields: Any) -> list[Any]:
    """All chunks of one reply about two pictures."""
    request = chat(*shown(0, 50), fields.pop("words", CHOICE), stream=True, **fields)
    async with (
        over_socket(settings, engine) as client,
        client.stream("POST", PATH, json=request) as response,
    ):
        assert response.status_code == 200
        assert response.headers["content-type"].startswith("text/event-stream")
        return [chunk async for chunk in chunks(response)]


def deltas(found: list[Any], name: str, choice: int = 0) -> str:
    parts = [each["choices"][0] for each in found if isinstance(each, dict) and each["choices"]]
    return "".join(part["delta"].get(name) or "" for part in parts if part["index"] == choice)


@pytest.fixture
def thinker() -> ScriptedEngine:
    """An engine that thinks, then says A."""
    return ScriptedEngine(lambda _p, _s, n: ["First red, then green.\nAnswer: A"] * n)


async def test_a_stream_says_what_the_whole_reply_says(settings: Settings, thinker: ScriptedEngine) -> None:
    fields: dict[str, Any] = {"secondlook": THINK, "seed": 1, "n": 2}
    found = await streamed(settings, thinker, **fields)
    async with over_asgi(settings, thinker) as client:
        whole = (await client.post(PATH, json=chat(*shown(0, 50), CHOICE, **fields))).json()
    assert found[-1] == "[DONE]"
    for number, choice in enumerate(whole["choices"]):
        assert deltas(found, "content", number) == choice["message"]["content"] == "A"
        assert deltas(found, "reasoning", number) == choice["message"]["reasoning"]
        assert deltas(found, "reasoning_content", number) == choice["message"]["reasoning_content"]
    heads = {json.dumps({name: each[name] for name in ("id", "object", "created", "model")}) for each in found[:-1]}
    assert len(heads) == 1
    assert found[0]["object"] == "chat.completion.chunk"
    assert [each["choices"][0]["delta"]["role"] for each in found[:2]] == ["assistant", "assistant"]
    finishes = [each["choices"][0]["finish_reason"] for each in found[:-1]]
    assert finishes[-2:] == ["stop", "stop"]
    assert not any(finishes[:-2])
    assert found[-2]["secondlook"]["answer"] == whole["secondlook"]["answer"]
    assert not any("usage" in each for each in found[:-1]), "nobody asked for it"


async def test_reasoning_comes_while_the_model_still_works(settings: Settings) -> None:
    held = HeldEngine(always("A"))
    request = chat(*shown(0, 50), CHOICE, stream=True, model="scripted:direct")
    async with over_socket(settings, held) as client, client.stream("POST", PATH, json=request) as response:
        told = chunks(response)
        first, second = await anext(told), await anext(told)
        assert isinstance(first, dict)
        assert isinstance(second, dict)
        assert first["choices"][0]["delta"]["role"] == "assistant"
        assert second["choices"][0]["delta"]["reasoning"] == "Looked at 2 frames from 0.0 to 1.0 s.\n"
        held.release.set()
        assert [each async for each in told][-1] == "[DONE]"


async def test_the_bill_is_the_one_chunk_without_choices(settings: Settings, thinker: ScriptedEngine) -> None:
    found = await streamed(settings, thinker, secondlook=THINK, stream_options={"include_usage": True})
    *rest, bill, end = found
    assert end == "[DONE]"
    assert bill["choices"] == []
    assert bill["usage"]["total_tokens"] == bill["usage"]["prompt_tokens"] + bill["usage"]["completion_tokens"] > 0
    assert all(each["choices"] and each["usage"] is None for each in rest)


async def test_the_bill_may_come_with_every_chunk(settings: Settings, thinker: ScriptedEngine) -> None:
    options = {"include_usage": True, "continuous_usage_stats": True}
    found = await streamed(settings, thinker, secondlook=THINK, stream_options=options)
    totals = [each["usage"]["total_tokens"] for each in found[:-1]]
    assert totals == sorted(totals)
    assert totals[0] == 0 < totals[-1]


async def test_steps_come_only_where_they_are_asked_for(settings: Settings, engine: ScriptedEngine) -> None:
    silent = await streamed(settings, engine)
    assert not any("secondlook" in each for each in silent[:-2])
    found = await streamed(settings, engine, secondlook={"steps": True, "strategy": "direct"})
    steps = [each for each in found[:-2] if "secondlook" in each]
    assert [each["secondlook"]["step"]["event"] for each in steps] == ["looked", "asked", "proposed", "stopped"]
    assert all(each["choices"][0]["delta"] == {} for each in steps)


async def test_a_quiet_stream_is_kept_open_by_comments(settings: Settings) -> None:
    held = HeldEngine(always("A"))
    request = chat(*shown(0, 50), CHOICE, stream=True)
    async with (
        over_socket(settings.model_copy(update={"ping_seconds": 0.05}), held) as client,
        client.stream("POST", PATH, json=request) as response,
    ):
        found = []
        async for chunk in chunks(response):
            found.append(chunk)
            if found.count(":") == 2:
                held.release.set()
    assert found.count(":") >= 2
    assert found[-1] == "[DONE]"


def broken(_prompt: Prompt, _sampling: Sampling, _n: int) -> list[ScriptLine]:
    """An engine that goes down."""
    raise EngineError("the model server is down")


async def test_a_failure_in_mid_stream_is_an_error_and_the_end(settings: Settings) -> None:
    found = await streamed(settings, ScriptedEngine(broken))
    assert found[0]["choices"][0]["delta"]["role"] == "assistant"
    assert found[-1] == {
        "error": {"message": "the model server is down", "type": "engine_error", "param": None, "code": "engine_failed"}
    }


async def test_a_failure_before_the_first_step_keeps_its_status(settings: Settings, engine: ScriptedEngine) -> None:
    request = chat(*shown(0, 50), CHOICE, stream=True, secondlook={"start": 5})
    async with over_socket(settings, engine) as client:
        response = await client.post(PATH, json=request)
    assert (response.status_code, response.json()["error"]["param"]) == (400, "start")
    assert response.headers["content-type"] == "application/json"


async def test_a_client_that_leaves_stops_the_engine(settings: Settings) -> None:
    slow = ScriptedEngine(always("A"), pause=600)
    async with over_socket(settings, slow) as client:
        leaving = asyncio.ensure_future(client.post(PATH, json=chat(*shown(0), CHOICE, stream=True)))
        await until(lambda: len(slow.calls) == 1)
        leaving.cancel()
        await until(lambda: slow.cancelled == 1)
        (run,) = (await client.get("/v1/runs")).json()["data"]
    assert run["status"] == "cancelled"


async def test_a_stream_can_be_had_again(settings: Settings) -> None:
    engine = ScriptedEngine(lambda _p, sampling, n: [f"reply {sampling.seed}"] * n)
    request = chat(*shown(0, 50), OPEN, stream=True)
    headers = {"idempotency-key": "once"}
    async with over_asgi(settings, engine) as client:
        first, second = [(await client.post(PATH, json=request, headers=headers)).text for _ in range(2)]
        run_id = (await client.get("/v1/runs")).json()["data"][0]["id"]
        events = (await client.get(f"/v1/runs/{run_id}/events")).text
    for name in ("content", "reasoning"):
        assert deltas(whole(first), name) == deltas(whole(second), name), "in fewer pieces, since it is over"
    assert whole(first)[-2] == whole(second)[-2]
    assert len(engine.calls) == 1
    assert "event: answer" in events
    assert "chat.completion" in events


STAR = "A red star comes before a blue one."
THOUGHT = f"<think>hm</think>First red, then blue.\nAnswer: {STAR}"


def saying(text: str, **engine: Any) -> ScriptedEngine:
    return ScriptedEngine(lambda _p, _s, n: [text] * n, capabilities=frozenset({"stream"}), **engine)


def pieces(found: list[Any], name: str) -> list[str]:
    parts = [each["choices"][0]["delta"] for each in found if isinstance(each, dict) and each["choices"]]
    return [part[name] for part in parts if part.get(name)]


@pytest.mark.parametrize(
    ("strategy", "words", "text"),
    [
        ("direct", OPEN, STAR),
        ("direct", OPEN, THOUGHT),
        ("chain_of_thought", OPEN, THOUGHT),
        ("chain_of_thought", CHOICE, "First red, then blue.\nAnswer: A"),
        ({"name": "self_consistency", "samples": 1, "frames": 2}, CHOICE, "First red.\nAnswer: B"),
        ("planner", CHOICE, "Answer: C"),
    ],
)
async def test_words_come_as_they_are_written_and_say_what_a_whole_reply_says(
    settings: Settings, strategy: Any, words: str, text: str
) -> None:
    fields: dict[str, Any] = {"secondlook": {"strategy": strategy}, "seed": 1}
    found = await streamed(settings, saying(text), words=words, **fields)
    async with over_asgi(settings, saying(text)) as client:
        whole = (await client.post(PATH, json=chat(*shown(0, 50), words, **fields))).json()["choices"][0]["message"]
    assert deltas(found, "content") == whole["content"]
    assert deltas(found, "reasoning") == deltas(found, "reasoning_content") == whole["reasoning"]
    told = "content" if strategy == "direct" else "reasoning"
    assert len(pieces(found, told)) > 2
    assert found[-1] == "[DONE]"


async def test_the_first_words_are_there_while_the_last_are_not(settings: Settings) -> None:
    engine = saying(STAR, word_pause=0.05)
    request = chat(*shown(0, 50), OPEN, stream=True, model="scripted:direct")
    async with over_socket(settings, engine) as client, client.stream("POST", PATH, json=request) as response:
        told = chunks(response)
        before: list[Any] = []
        while not deltas(before, "content"):
            before.append(await asyncio.wait_for(anext(told), 30))
        (run,) = (await client.get("/v1/runs")).json()["data"]
        rest = [each async for each in told]
    assert run["status"] == "running"
    assert deltas([*before, *rest], "content") == STAR


async def test_a_client_that_leaves_in_mid_word_stops_the_engine(settings: Settings) -> None:
    engine = saying(STAR * 100, word_pause=0.01)
    request = chat(*shown(0), OPEN, stream=True, model="scripted:direct")
    async with over_socket(settings, engine) as client:
        async with client.stream("POST", PATH, json=request) as response:
            async for chunk in chunks(response):
                if isinstance(chunk, dict) and chunk["choices"][0]["delta"].get("content"):
                    break
        await until(lambda: engine.cancelled == 1)


async def test_json_is_told_when_it_is_whole(settings: Settings) -> None:
    schema = {"type": "object", "properties": {"what": {"type": "string"}}, "required": ["what"]}
    wanted = {"type": "json_schema", "json_schema": {"name": "it", "schema": schema}}
    found = await streamed(settings, saying(STAR), words=OPEN, response_format=wanted)
    assert len(pieces(found, "content")) == 1
    assert STAR in deltas(found, "content")


async def test_an_answer_that_runs_out_of_time_is_cut_off_where_it_was(settings: Settings) -> None:
    engine = saying(STAR * 100, word_pause=0.02)
    ours = {"strategy": "direct", "budget": {"seconds": 0.5}}
    found = await streamed(settings, engine, words=OPEN, secondlook=ours)
    assert (STAR * 100).startswith(deltas(found, "content").strip()) and deltas(found, "content")
    assert [each["choices"][0]["finish_reason"] for each in found[:-1]][-1] == "length"


async def test_choices_are_told_side_by_side(settings: Settings) -> None:
    found = await streamed(settings, saying(STAR, word_pause=0.01), words=OPEN, model="scripted:direct", n=2)
    assert deltas(found, "content", 0) == deltas(found, "content", 1) == STAR
    order = [each["choices"][0]["index"] for each in found[:-1] if each["choices"][0]["delta"].get("content")]
    assert order != sorted(order), "both were being written at once"


async def test_a_background_run_is_read_along(settings: Settings) -> None:
    engine = saying(STAR, word_pause=0.02)
    async with over_socket(settings, engine) as client:
        body = {"video": {"pictures": [{"url": shown(0)[0]["image_url"]["url"]}]}, "question": "What?", "kind": "open"}
        run = (await client.post("/v1/answers", json={**body, "background": True})).json()
        live = (await asyncio.wait_for(client.get(f"/v1/runs/{run['id']}/events"), 20)).text
        past = (await client.get(f"/v1/runs/{run['id']}/events")).text
    assert "event: delta" in live and "event: delta" not in past
    assert live.endswith(past[-200:])
