"""A reply word by word: what the model writes is seen while it writes, and the stream says what a whole reply says."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from agents.engines.scripted import ScriptedEngine
from app.settings import Settings
from tests.app.chat.scene import CHOICE, OPEN, chat, shown
from tests.app.chat.test_streams import PATH, chunks, deltas, streamed
from tests.app.conftest import over_asgi, over_socket
from tests.app.test_stream import until

pytestmark = pytest.mark.anyio
STAR = "A red star comes before a blue one."
THOUGHT = f"<think>hm</think>First red, then blue.\nAnswer: {STAR}"


def saying(text: str, **engine: Any) -> ScriptedEngine:
    return ScriptedEngine(lambda _p, _s, n: [text] * n, offers=frozenset({"stream"}), **engine)


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
            before.append(await anext(told))
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
