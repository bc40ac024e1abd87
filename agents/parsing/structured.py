"""Structured output: the typed reply that a model fills in as JSON, parsed and repaired."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, TypeVar

from json_repair import repair_json
from pydantic import BaseModel, ConfigDict, ValidationError

_FENCE = re.compile(r"```(?:json)?\s*(.*?)```", re.DOTALL | re.IGNORECASE)
_THOUGHT = re.compile(r"<think>.*?(</think>|$)", re.DOTALL | re.IGNORECASE)
_NOISE = frozenset({"title", "default", "examples", "$defs"})

S = TypeVar("S", bound="StructuredOutput")


class StructuredOutput(BaseModel):
    """The shape of a reply. What the model adds beyond it is dropped."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    @classmethod
    def response_schema(cls) -> dict[str, Any]:
        """The JSON schema to which an engine holds a reply: every field required, nothing else allowed."""
        return strict_schema(cls.model_json_schema())

    @classmethod
    def as_example(cls) -> str:
        """The shape in words, for engines that cannot be held to a schema."""
        return f"Reply with JSON only: {_example_of(cls.response_schema())}"


def parse_structured(slots: type[S], text: str) -> S | None:
    """The slots as a reply fills them; None if it does not."""
    value = parse_json_object(text)
    try:
        return None if value is None else slots.model_validate(value)
    except ValidationError:
        return None


def parse_json_object(text: str) -> dict[str, Any] | None:
    """The JSON object in a reply, out of fences and mended if it is nearly one; None if there is none."""
    spoken = _THOUGHT.sub("", text)
    fenced = _FENCE.search(spoken)
    bodies = [body[body.find("{") :] for body in (spoken, *((fenced[1],) if fenced else ())) if "{" in body]
    whole = (_strip_to_json(body) for body in bodies)
    mended = (repair_json(body, return_objects=True) for body in reversed(bodies))
    return next((value for value in (*whole, *mended) if isinstance(value, dict) and value), None)


def simplify_schema(schema: Mapping[str, Any]) -> dict[str, Any]:
    """A schema without references, titles and defaults; what may be null is only what it is otherwise."""
    return dict(_simplify(schema, schema.get("$defs", {})))


def strict_schema(schema: Mapping[str, Any]) -> dict[str, Any]:
    """A schema for constrained decoding: every object closed, everything required."""
    return dict(_close_objects(simplify_schema(schema)))


def _close_objects(node: Any) -> Any:
    if isinstance(node, list):
        return [_close_objects(each) for each in node]
    if not isinstance(node, Mapping):
        return node
    made = {key: _close_objects(value) for key, value in node.items()}
    if made.get("type") == "object" and "properties" in made:
        made |= {"required": list(made["properties"]), "additionalProperties": False}
    return made


def _strip_to_json(text: str) -> Any:
    try:
        return json.JSONDecoder().raw_decode(text)[0]
    except ValueError:
        return None


def _simplify(node: Any, defs: Mapping[str, Any]) -> Any:
    if isinstance(node, list):
        return [_simplify(each, defs) for each in node]
    if not isinstance(node, Mapping):
        return node
    if "$ref" in node:
        return _simplify(defs[node["$ref"].rpartition("/")[2]], defs)
    if "anyOf" in node:
        real = [each for each in node["anyOf"] if each.get("type") != "null"]
        if len(real) == 1:
            return _simplify(
                {**real[0], **({"description": node["description"]} if "description" in node else {})}, defs
            )
    if "prefixItems" in node:  # a tuple: engines know lists of one kind better
        node = {**{key: value for key, value in node.items() if key != "prefixItems"}, "items": node["prefixItems"][0]}
    kept = {key: value for key, value in node.items() if key not in _NOISE}
    return {
        key: _simplify_properties(value, defs) if key == "properties" else _simplify(value, defs)
        for key, value in kept.items()
    }


def _simplify_properties(properties: Mapping[str, Any], defs: Mapping[str, Any]) -> dict[str, Any]:
    """Fields by their names, which may be called like words of the schema itself."""
    return {name: _simplify(shape, defs) for name, shape in properties.items()}


def _example_of(schema: Mapping[str, Any]) -> str:
    """A schema as a person would write it down."""
    if "enum" in schema:
        return " or ".join(json.dumps(each) for each in schema["enum"])
    if "properties" in schema:
        return "{" + ", ".join(f'"{name}": {_example_of(shape)}' for name, shape in schema["properties"].items()) + "}"
    if "items" in schema:
        return f"[{_example_of(schema['items'])}, …]"
    return {"number": "number", "integer": "number", "boolean": "true or false"}.get(schema.get("type", ""), "text")
