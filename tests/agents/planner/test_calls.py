from __future__ import annotations

from typing import Any

import pytest

from agents.core.question import Question
from agents.engines.base import Reply, ToolCall
from agents.planner.calls import ParsedCall, answer_in, parse_reply
from agents.planner.toolbox import Toolbox
from tests.agents.stage import COLOURS, HOW_MANY, IS_IT, WHAT
from tools.base import ToolError
from tools.builtin.view import View

BOX = Toolbox(("view", "zoom", "search_clips", "ask", "submit"))


def read(text: str, **more: Any) -> tuple[ParsedCall, ...]:
    return parse_reply(Reply(text, **more), BOX, COLOURS).calls


@pytest.mark.parametrize(
    "text",
    [
        "view 12 20",
        "I want to see more.\nview 12 20\n",
        "view start=12 end=20",
        "view(start=12, end=20)",
        "view(12, 20)",
        "- view 12, 20",
        "Call: `view 12 20`",
        '{"tool": "view", "start": 12, "end": 20}',
        '{"thought": "the star", "tool": "view", "start": "0:12", "end": "20s"}',
        '```json\n{"name": "view", "arguments": {"start": 12, "end": 20}}\n```',
        '<tool_call>{"name": "view", "arguments": "{\\"start\\": 12, \\"end\\": 20}"}</tool_call>',
        "{'tool': 'view', 'start': 12, 'end': 20,}",
        '{"tool": "view", "start": 12, "end": 20',
        "<think>view 1 2 or view 3 4?</think>view 12 20",
    ],
)
def test_a_call_is_read_in_every_form(text: str) -> None:
    (call,) = read(text)
    assert call.arguments is not None
    assert BOX.bind(call.name, call.arguments) == View(start=12, end=20)


def test_words_come_last_on_a_line_and_take_all_that_is_left() -> None:
    assert read("search_clips red star, moving")[0].arguments == {"query": "red star, moving"}
    assert read("ask 3 9 Which colour is it?")[0].arguments == {
        "start": "3",
        "end": "9",
        "question": "Which colour is it?",
    }
    assert read("zoom 4.5 0.5 0 1 0.5")[0].arguments == {"time": "4.5", "box": "0.5 0 1 0.5"}


def test_the_engines_own_calls_are_read_and_mended() -> None:
    given = (ToolCall("1", "view", '{"start": 12, "end": 20}'), ToolCall("2", "view", '{"start": 12, end: 20'))
    first, second = read("", calls=given)
    assert first.arguments == second.arguments == {"start": 12, "end": 20}
    assert (first.origin, second.origin) == given
    assert read("", calls=(ToolCall("1", "view", "[]"),))[0].arguments is None
    assert read("", calls=(ToolCall("1", "view", "nothing"),))[0].arguments is None


def test_of_a_reply_that_was_cut_off_nothing_is_read() -> None:
    cut = parse_reply(Reply('{"tool": "view", "start": 12, "e', finish="length"), BOX, COLOURS)
    assert cut.truncated
    assert not cut.calls


def test_several_calls_in_one_reply() -> None:
    assert [call.name for call in read("view 1 2\nsearch_clips star")] == ["view", "search_clips"]


@pytest.mark.parametrize(
    ("question", "text", "value"),
    [
        (COLOURS, "Answer: B", "B"),
        (COLOURS, "I saw it. Answer: green", "B"),
        (COLOURS, "<answer>green</answer>", "B"),
        (COLOURS, "green", "B"),
        (COLOURS, "B.", "B"),
        (COLOURS, "I should look for the green star", None),
        (COLOURS, "Answer: purple", None),
        (COLOURS, "", None),
        (COLOURS, "?", None),
        (COLOURS, "the", None),
        (COLOURS, "a", "A"),
        (IS_IT, "Yes.", "yes"),
        (IS_IT, "yes, I should look again", None),
        (HOW_MANY, "3", "3"),
        (HOW_MANY, "There are 3 minutes left to view", None),
        (WHAT, "a red star", "red star"),
    ],
)
def test_an_answer_is_only_what_is_marked_or_all_there_is(question: Question, text: str, value: str | None) -> None:
    assert answer_in(question, text) == value


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("view", {"start_time": 12, "end_time": "20"}),
        ("view", {"segment": [12, 20]}),
        ("views", {"begin": "00:00:12", "stop": "20s"}),
        ("View", {"start": 12, "end": 20, "frames": None}),
    ],
)
def test_near_names_are_understood(name: str, arguments: dict[str, Any]) -> None:
    assert BOX.bind(name, arguments) == View(start=12, end=20)


@pytest.mark.parametrize(
    ("name", "arguments", "code", "hint"),
    [
        ("teleport", {}, "unknown_tool", "There are: view, zoom, search_clips, ask, submit."),
        ("view", {"start": 1, "end": 2, "mood": "sad"}, "unknown_argument", "fps"),
        ("view", {"start": "soon", "end": 2}, "bad_argument", "Write it like: view START END"),
        ("view", {}, "bad_argument", "view START END"),
        ("search_clips", {}, "bad_argument", "search_clips QUERY"),
    ],
)
def test_a_wrong_call_is_told_what_would_be_right(name: str, arguments: Any, code: str, hint: str) -> None:
    with pytest.raises(ToolError) as caught:
        BOX.bind(name, arguments)
    assert caught.value.code == code
    assert hint in f"{caught.value} {caught.value.hint}"


def test_what_engines_are_told_of_tools_is_closed_and_without_references() -> None:
    for spec in BOX.specs():
        assert spec.parameters["additionalProperties"] is False
        assert "$ref" not in str(spec.parameters)
        assert "name" not in spec.parameters["properties"]
        assert spec.description
    slots = BOX.schema()["anyOf"]
    assert [each["properties"]["tool"]["const"] for each in slots] == list(BOX.names)
    assert slots[0]["required"] == ["thought", "tool", "start", "end"]
