"""The steps of a search, as a caller sees them: events of a stream, lines on a terminal, the report."""

from __future__ import annotations

from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from agents.engines.scripted import ScriptedEngine
from agents.trace import Used
from app.schemas import AnswerResponse
from app.settings import Settings
from app.terminal import describe, show
from tests.app.conftest import body, over_asgi, over_socket
from tests.app.test_stream import events

pytestmark = pytest.mark.anyio

DIRECT = {"red": 0.4, "green": 0.2, "blue": 0.2, "grey": 0.2}
SEEN = dict(zip("ABCD", DIRECT.values(), strict=True))


async def test_each_step_is_an_event_with_the_seconds_of_its_thumbnails(settings: Settings, film: Path) -> None:
    engine = ScriptedEngine([SEEN, "view 40 44", "Answer: blue", {"yes": 0.9, "no": 0.1}])
    async with (
        over_socket(settings, engine) as client,
        client.stream("POST", "/v1/answers", json=body(film, stream=True, strategy="planner")) as response,
    ):
        told = [event async for event in events(response)]
    used = [data for name, data in told if name == "used"]
    assert [(data["tool"], data["arguments"]) for data in used] == [("view", {"start": 40.0, "end": 44.0})]
    assert used[0]["times"] == [40.25, 40.75, 41.25, 41.75, 42.25, 42.75, 43.25, 43.75]
    answer = told[-1][1]
    assert (answer["answer"], answer["report"]["tool_calls"]) == ("blue", 1)
    assert answer["evidence"] == [{"start": 40.0, "end": 44.0, "text": "looked at"}]


async def test_a_request_may_choose_tools_and_stages(settings: Settings, film: Path) -> None:
    engine = ScriptedEngine([SEEN, "view 1 3", "Answer: red", SEEN, SEEN])
    stages = [{"do": "answer", "frames": 4}]
    async with over_asgi(settings, engine) as client:
        planned = await client.post("/v1/answers", json=body(film, strategy={"name": "planner", "tools": ["view"]}))
        sat = await client.post("/v1/answers", json=body(film, strategy={"name": "committee", "stages": stages}))
        wrong = await client.post("/v1/answers", json=body(film, strategy={"name": "planner", "tools": ["dig"]}))
    assert (planned.status_code, sat.status_code, wrong.status_code) == (200, 200, 400)
    assert wrong.json()["error"]["param"] == "strategy.tools.0"


async def test_what_an_answer_stood_against_is_not_the_answer(settings: Settings, film: Path) -> None:
    sure = {"A": 0.9, "B": 0.05, "C": 0.03, "D": 0.02}
    engine = ScriptedEngine([sure, "view 40 44", "Answer: blue", {"yes": 0.6, "no": 0.4}])
    async with over_asgi(settings, engine) as client:
        response = await client.post("/v1/answers", json=body(film, strategy="planner"))
    answer = AnswerResponse.model_validate(response.json())
    assert (answer.answer, answer.candidates[0].answer) == ("blue", "red"), "the direct answer had the larger share"
    console = Console(width=100, record=True, file=StringIO())
    show(console, answer)
    assert "instead of  red 60%" in console.export_text()


def test_a_call_is_one_line_on_a_terminal() -> None:
    found = Used(
        tool="search_clips",
        arguments={"query": "red star"},
        summary="2 lines",
        data=({"start": 840.0, "end": 850.0, "text": "a red star"},),
        seconds=0.1,
    )
    assert describe(found) == 'search_clips query="red star" → 2 lines: a red star'
    looked = Used(tool="view", arguments={"start": 1.0}, summary="2 frames of 1-2", times=(1.0, 1.5), seconds=0.1)
    assert describe(looked) == "view start=1.0 → 2 frames of 1-2, 2 frames from 1.0 to 1.5 s"
