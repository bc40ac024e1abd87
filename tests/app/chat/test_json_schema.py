"""Answers as JSON: put in where there is one place for them, else written by the model and checked, or not given."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from agents.engines.base import Prompt, Sampling
from agents.engines.scripted import ScriptedEngine, ScriptLine
from app.settings import Settings
from tests.app.chat.scene import CHOICE, OPEN, chat, shown
from tests.app.conftest import always, body, over_asgi

pytestmark = pytest.mark.anyio
EVENTS = {
    "type": "object",
    "properties": {
        "summary": {"type": "string"},
        "events": {"type": "array", "items": {"type": "object", "properties": {"second": {"type": "number"}},
                                              "required": ["second"]}},
    },
    "required": ["summary", "events"],
    "additionalProperties": False,
}  # fmt: skip
GOOD = {"summary": "A star.", "events": [{"second": 1.5}]}


def form(schema: dict[str, Any] | None) -> dict[str, Any]:
    """What a client sends as response_format."""
    if schema is None:
        return {"type": "json_object"}
    return {"type": "json_schema", "json_schema": {"name": "answer", "strict": True, "schema": schema}}


def one(field: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": {"answer": field}, "required": ["answer"], "additionalProperties": False}


def writer(*replies: str, capabilities: frozenset[Any] = frozenset({"logprobs", "choices"})) -> ScriptedEngine:
    """An engine that answers A, or "A star.", and when asked for JSON writes one reply after another."""
    left = list(replies)

    def script(prompt: Prompt, sampling: Sampling, n: int) -> list[ScriptLine]:
        if "JSON schema below" in "".join(p for turn in prompt for p in turn.parts if isinstance(p, str)):
            return [left.pop(0)]
        if sampling.choices:
            return always("A")(prompt, sampling, n)
        return ["A star."] * n

    return ScriptedEngine(script, capabilities=capabilities)


async def reply(settings: Settings, engine: ScriptedEngine, *parts: Any, **fields: Any) -> dict[str, Any]:
    request = chat(*shown(0, 50), *(parts or (CHOICE,)), model="scripted:direct", **fields)
    async with over_asgi(settings, engine) as client:
        response = await client.post("/v1/chat/completions", json=request)
    assert response.status_code == 200, response.text
    found: dict[str, Any] = response.json()
    return found


def content(found: dict[str, Any]) -> Any:
    return json.loads(found["choices"][0]["message"]["content"])


@pytest.mark.parametrize(
    ("field", "words", "value"),
    [
        ({"type": "string"}, CHOICE, "A"),
        ({"enum": ["red", "green"]}, CHOICE, "red"),
        ({"enum": ["A", "B"]}, "Which?\nA. red\nB. green", "A"),
        ({"type": "boolean"}, "Is it red? Answer yes or no.", True),
    ],
)
async def test_one_field_takes_the_answer_without_another_call(
    settings: Settings, field: dict[str, Any], words: str, value: Any
) -> None:
    engine = ScriptedEngine(lambda _p, s, n: [{c: 0.7 if c in ("A", "yes") else 0.1 for c in s.choices}] * n)
    found = await reply(settings, engine, words, response_format=form(one(field)))
    assert content(found) == {"answer": value}
    assert found["secondlook"]["structured"] == {"answer": value}
    assert len(engine.calls) == 1


async def test_a_number_is_one(settings: Settings) -> None:
    engine = ScriptedEngine(lambda _p, _s, n: ["three"] * n)
    ours = {"kind": "number"}
    found = await reply(settings, engine, "How many?", secondlook=ours, response_format=form(one({"type": "integer"})))
    assert content(found) == {"answer": 3}


@pytest.mark.parametrize("held", [True, False])
async def test_what_takes_more_is_written_by_the_model(settings: Settings, held: bool) -> None:
    capabilities = frozenset({"logprobs", "choices", *(["schema"] if held else [])})
    engine = writer(f"```json\n{json.dumps(GOOD)}\n```", capabilities=capabilities)
    found = await reply(settings, engine, OPEN, response_format=form(EVENTS))
    assert content(found) == GOOD
    first, second = engine.calls
    assert (second.frames, second.sampling.max_tokens) == (2, 512)
    assert (second.sampling.schema is not None) is held
    assert '"events"' in second.text
    assert "A star." in second.text
    assert found["secondlook"]["report"]["calls"] == 2
    assert found["usage"]["prompt_tokens"] > 0
    assert first.text.endswith(OPEN)


async def test_what_is_wrong_once_is_written_again(settings: Settings) -> None:
    engine = writer('{"summary": "A star."}', json.dumps(GOOD))
    assert content(await reply(settings, engine, OPEN, response_format=form(EVENTS))) == GOOD


async def test_what_cannot_be_written_is_refused_and_the_answer_is_kept(settings: Settings) -> None:
    found = await reply(settings, writer("no", "no"), OPEN, response_format=form(EVENTS))
    message = found["choices"][0]["message"]
    assert message["content"] is None
    assert "JSON" in message["refusal"]
    assert found["secondlook"]["answer"] == "A star."
    assert found["secondlook"]["report"]["degraded"] == ["json_schema: the answer could not be stated in it"]


async def test_an_object_of_any_form_is_what_the_question_asks_for_or_the_answer_alone(settings: Settings) -> None:
    written = await reply(settings, writer('{"colour": "red"}'), "Give JSON with the key colour.",
                          response_format=form(None))  # fmt: skip
    assert content(written) == {"colour": "red"}
    alone = await reply(settings, writer("no", "no"), CHOICE, response_format=form(None))
    assert content(alone) == {"answer": "A"}


async def test_without_budget_for_it_there_is_no_form(settings: Settings) -> None:
    found = await reply(settings, writer(), OPEN, response_format=form(EVENTS), secondlook={"budget": {"calls": 1}})
    assert found["choices"][0]["message"]["content"] is None
    assert found["secondlook"]["report"]["degraded"] == [
        "json_schema: calls: wanted 1, 0 left",
        "json_schema: the answer could not be stated in it",
    ]


async def test_what_is_not_checked_is_told(settings: Settings, engine: ScriptedEngine) -> None:
    found = await reply(settings, engine, response_format=form(one({"type": "string", "pattern": "^x"})))
    assert content(found) == {"answer": "A"}
    assert found["secondlook"]["report"]["degraded"] == ["json_schema: regular expressions in it are not checked"]


async def test_our_own_wire_has_it_too(settings: Settings, engine: ScriptedEngine, video_path: Path) -> None:
    async with over_asgi(settings, engine) as client:
        found = (await client.post("/v1/answers", json=body(video_path, json_schema=one({"type": "string"})))).json()
    assert (found["answer"], found["structured"]) == ("red", {"answer": "red"})


async def test_plain_text_is_plain(settings: Settings, engine: ScriptedEngine) -> None:
    found = await reply(settings, engine, response_format={"type": "text"})
    assert found["choices"][0]["message"]["content"] == "A"
    assert found["secondlook"]["structured"] is None


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "objct"},
        {"$ref": "http://127.0.0.1/schema"},
        {"properties": []},
        {"type": "object", "description": "x" * 70_000},
    ],
)
async def test_what_is_no_schema(settings: Settings, engine: ScriptedEngine, schema: dict[str, Any]) -> None:
    request = chat(*shown(0), CHOICE, response_format=form(schema))
    async with over_asgi(settings, engine) as client:
        response = await client.post("/v1/chat/completions", json=request)
    assert (response.status_code, response.json()["error"]["param"]) == (400, "json_schema")
    assert not engine.calls
