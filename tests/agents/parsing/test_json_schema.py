"""Schemas of callers: what they accept, and what they may cost."""

import time
from typing import Any

import pytest

from agents.parsing.json_schema import AnswerSchema, BadSchema


@pytest.mark.parametrize(
    ("source", "value", "good"),
    [
        ({"type": "object", "required": ["a"]}, {"a": 1}, True),
        ({"type": "object", "required": ["a"]}, {}, False),
        ({"properties": {"a": {"enum": ["x"]}}, "additionalProperties": False}, {"a": "x"}, True),
        ({"properties": {"a": {"enum": ["x"]}}, "additionalProperties": False}, {"b": "x"}, False),
        ({"$defs": {"n": {"type": "number"}}, "properties": {"a": {"$ref": "#/$defs/n"}}}, {"a": "1"}, False),
        ({"properties": {"pattern": {"type": "number"}}}, {"pattern": "x"}, False),
        ({"$ref": "#/nowhere"}, {}, False),
        ({"$ref": "#"}, {}, False),
        ({}, {"any": "thing"}, True),
    ],
)
def test_accepts(source: dict[str, Any], value: Any, good: bool) -> None:
    assert AnswerSchema(source).accepts(value) is good


@pytest.mark.parametrize("source", [{"type": "objct"}, {"properties": []}, {"$ref": "http://127.0.0.1/x"}])
def test_what_is_no_schema(source: dict[str, Any]) -> None:
    with pytest.raises(BadSchema):
        AnswerSchema(source)


def test_a_schema_that_takes_years_accepts_nothing() -> None:
    parts: dict[str, Any] = {f"a{i}": {"allOf": [{"$ref": f"#/$defs/a{i + 1}"}] * 2} for i in range(60)}
    schema = AnswerSchema({"$defs": {**parts, "a60": {}}, "$ref": "#/$defs/a0"})
    began = time.monotonic()
    assert not schema.accepts({})
    assert time.monotonic() - began < 20


def test_regular_expressions_are_not_run() -> None:
    schema = AnswerSchema(
        {"type": "object", "patternProperties": {"(a+)+$": {}}, "additionalProperties": {"pattern": "(a+)+$"}}
    )
    began = time.monotonic()
    assert schema.accepts({"a" * 50 + "!": "a" * 50 + "!"})
    assert time.monotonic() - began < 5
    assert "patternProperties" not in schema.source


def test_a_schema_nested_too_deeply_is_refused() -> None:
    source: dict[str, Any] = {}
    for _ in range(5000):
        source = {"properties": {"a": source}}
    with pytest.raises(BadSchema, match="deeply"):
        AnswerSchema(source)
