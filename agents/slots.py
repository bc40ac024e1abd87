"""Slots that the model fills: JSON of a known shape, read strictly, mended where it is nearly right."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, TypeVar

from json_repair import repair_json
from pydantic import BaseModel, ConfigDict, ValidationError

_FENCE = re.compile(r"```(?:json)?\s*(.*?)```", re.DOTALL | re.IGNORECASE)
_THOUGHT = re.compile(r"<think>.*?(</think>|$)", re.DOTALL | re.IGNORECASE)
_NOISE = frozenset({"title", "default", "description", "examples"})

S = TypeVar("S", bound="Slots")


class Slots(BaseModel):
    """The shape of a reply. What the model adds beyond it is dropped."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    @classmethod
    def wire(cls) -> dict[str, Any]:
        """The JSON schema to which an engine holds a reply: every field required, nothing else allowed."""
        return closed(cls.model_json_schema())

    @classmethod
    def shape(cls) -> str:
        """The shape in words, for engines that cannot be held to a schema."""
        fields = ", ".join(f'"{name}": {_kind(field.annotation)}' for name, field in cls.model_fields.items())
        return f"Reply with JSON only: {{{fields}}}"


def fill(slots: type[S], text: str) -> S | None:
    """The slots as a reply fills them; None if it does not."""
    value = read_object(text)
    try:
        return None if value is None else slots.model_validate(value)
    except ValidationError:
        return None


def read_object(text: str) -> dict[str, Any] | None:
    """The JSON object in a reply, out of fences and mended if it is nearly one; None if there is none."""
    spoken = _THOUGHT.sub("", text)
    fenced = _FENCE.search(spoken)
    body = fenced[1] if fenced else spoken
    start = body.find("{")
    if start < 0:
        return None
    value = _strict(body[start:])
    if value is None:
        value = repair_json(body[start:], return_objects=True)
    if isinstance(value, list):
        value = next((each for each in value if isinstance(each, dict)), None)
    return value if isinstance(value, dict) and value else None


def closed(schema: Mapping[str, Any]) -> dict[str, Any]:
    """A schema for constrained decoding: references resolved, objects closed, everything required, no prose."""
    return dict(_plain(schema, schema.get("$defs", {})))


def _strict(text: str) -> Any:
    try:
        return json.JSONDecoder().raw_decode(text)[0]
    except ValueError:
        return None


def _plain(node: Any, defs: Mapping[str, Any]) -> Any:
    if isinstance(node, list):
        return [_plain(each, defs) for each in node]
    if not isinstance(node, Mapping):
        return node
    if "$ref" in node:
        return _plain(defs[node["$ref"].rpartition("/")[2]], defs)
    kept = {key: value for key, value in node.items() if key != "$defs" and not (key in _NOISE and _is_prose(value))}
    made = {key: _fields(value, defs) if key == "properties" else _plain(value, defs) for key, value in kept.items()}
    if made.get("type") == "object" and "properties" in made:
        made |= {"required": list(made["properties"]), "additionalProperties": False}
    return made


def _fields(properties: Mapping[str, Any], defs: Mapping[str, Any]) -> dict[str, Any]:
    """Fields by their names, which may be called like words of the schema itself."""
    return {name: _plain(shape, defs) for name, shape in properties.items()}


def _is_prose(value: Any) -> bool:
    return not isinstance(value, Mapping) or "type" not in value


def _kind(annotation: Any) -> str:
    """The type of a slot, as a person would write it."""
    name = getattr(annotation, "__name__", None) or str(annotation)
    return re.sub(r"\b(?:typing|agents|tools)[\w.]*\.", "", str(annotation) if "[" in str(annotation) else str(name))
