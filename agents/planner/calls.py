"""From what the model wrote to what it wants: calls of tools, or an answer. Videos' words never come here."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from agents.core.question import Question
from agents.engines.base import Reply, ToolCall
from agents.parsing.answers import answer_start, final_answer_text, normalise_text, parse_answer
from agents.parsing.structured import parse_json_object
from agents.planner.toolbox import Toolbox

_THOUGHT = re.compile(r"<think>.*?(</think>|$)", re.DOTALL | re.IGNORECASE)
_TAGGED = re.compile(r"<tool_call>(.*?)(?:</tool_call>|$)", re.DOTALL | re.IGNORECASE)
_LINE = re.compile(r"[\s>*\-`]*(?:call\s*:\s*|action\s*:\s*)?`?(\w+)\b[\s:]*[(]?(.*?)[)`]*\s*", re.IGNORECASE)
_NAMED = re.compile(r"(\w+)\s*=\s*")
_SHORT = 24  # words; a reply without a mark that is longer is no answer


@dataclass(frozen=True, slots=True)
class ParsedCall:
    """One call as it was read. `arguments` is None if they cannot be read; `origin` is the engine's own call."""

    name: str
    arguments: Mapping[str, Any] | None
    origin: ToolCall | None = None


@dataclass(frozen=True, slots=True)
class ParsedReply:
    """What a reply wants. Both may be there, or neither. `text` is what the reply says, without its thoughts."""

    calls: tuple[ParsedCall, ...] = ()
    answer: str | None = None
    text: str = ""
    truncated: bool = False


def parse_reply(reply: Reply, toolbox: Toolbox, question: Question) -> ParsedReply:
    """Read a reply. Of one that was cut off nothing is read: half a call is no call."""
    text = _THOUGHT.sub("", reply.text).strip()
    if reply.finish == "length":
        return ParsedReply(text=text, truncated=True)
    if reply.calls:
        return ParsedReply(
            tuple(ParsedCall(each.name, _arguments(each.arguments), each) for each in reply.calls), None, text
        )
    calls = _tagged(text) or _json(text) or _lines(text, toolbox)
    return ParsedReply(calls, None if calls else answer_in(question, text), text)


def answer_in(question: Question, text: str) -> str | None:
    """The answer that a reply states, canonical: one that is marked, or that is all there is. Never a guess."""
    if not text:
        return None
    if answer_start(text):
        return parse_answer(question, text)
    words = normalise_text(final_answer_text(text))
    if question.kind in ("choice", "yesno"):
        known = {
            normalise_text(option): letter for letter, option in zip(question.letters, question.options, strict=True)
        }
        known |= {"yes": "yes", "no": "no"} if question.kind == "yesno" else {}
        letter = final_answer_text(text).strip("().: ").upper()
        return letter if letter in question.letters else known.get(words) if words else None
    if question.kind == "number":
        return parse_answer(question, text) if len(words.split()) <= 1 else None
    return parse_answer(question, text) if question.kind == "text" and len(words.split()) <= _SHORT else None


def _arguments(text: str) -> Mapping[str, Any] | None:
    """Arguments in JSON, mended if they are nearly so; none at all is no mistake."""
    if not text.strip():
        return {}
    try:
        value = json.loads(text)
    except ValueError:
        return parse_json_object(text)
    return value if isinstance(value, dict) else None


def _tagged(text: str) -> tuple[ParsedCall, ...]:
    """Calls between tags, as Hermes-type models write them where their server does not read them."""
    found = (_called(parse_json_object(body)) for body in _TAGGED.findall(text))
    return tuple(call for call in found if call is not None)


def _json(text: str) -> tuple[ParsedCall, ...]:
    call = _called(parse_json_object(text))
    return () if call is None else (call,)


def _called(value: Mapping[str, Any] | None) -> ParsedCall | None:
    """A call from a JSON object that names a tool."""
    if value is None or not isinstance(name := value.get("tool", value.get("name")), str):
        return None
    nested = value.get("arguments", value.get("parameters"))
    if isinstance(nested, str):
        return ParsedCall(name, _arguments(nested))
    if isinstance(nested, Mapping):
        return ParsedCall(name, nested)
    return ParsedCall(name, {key: each for key, each in value.items() if key not in ("tool", "name", "thought")})


def _lines(text: str, toolbox: Toolbox) -> tuple[ParsedCall, ...]:
    """Calls on lines of their own: `view 12 20`, `view start=12 end=20` or `view(12, 20)`."""
    found = []
    for line in text.splitlines():
        match = _LINE.fullmatch(line)
        if match and (name := match[1]) in toolbox.names:
            found.append(ParsedCall(name, _spread(match[2].strip(), toolbox.essential(name))))
    return tuple(found)


def _spread(text: str, names: Sequence[str]) -> Mapping[str, Any]:
    """Arguments from a line: by name, or in order, of which the last takes all that is left."""
    if marks := list(_NAMED.finditer(text)):
        ends = [*(mark.start() for mark in marks[1:]), len(text)]
        return {m[1]: _bare(text[m.end() : end]) for m, end in zip(marks, ends, strict=True)}
    words = text.replace(",", " ").split() if len(names) > 1 else [text]
    given = words[: len(names) - 1]
    rest = " ".join(words[len(names) - 1 :])
    return {name: _bare(word) for name, word in zip(names, [*given, rest], strict=False) if word}


def _bare(text: str) -> str:
    return text.strip().strip(",;").strip().strip("\"'").strip()
