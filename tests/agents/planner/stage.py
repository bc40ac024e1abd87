"""A video of which something is known, and a planner that follows a script."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from agents.core.trace import ToolEvent
from agents.engines.base import Message, Picture, Reply, ToolCall
from agents.engines.scripted import ScriptLine as Said
from tests.agents.stage import Performance, play, sure
from tests.tools.contexts import index_entry
from tools.index.index import Index
from tools.video.video import Video

KNOWN = (
    index_entry(0, 10, "a red star crosses the field"),
    index_entry(20, 30, "an empty grey field"),
    index_entry(40, 50, "a blue square turns"),
    index_entry(12, 14, "my name is Anna", "subtitle"),
)
NATIVE = frozenset({"logprobs", "choices", "tools"})
SLOTS = frozenset({"logprobs", "choices", "schema"})
PLAIN: frozenset[str] = frozenset({"logprobs", "choices"})
YES = {"yes": 0.9, "no": 0.1}
NO = {"yes": 0.2, "no": 0.8}
UNSURE = sure("A", 0.4)


def search(
    video: Video, script: Any, *, capabilities: frozenset[str] = PLAIN, known: bool = True, **more: Any
) -> Performance:
    """A planner with these parameters against a script, whose first line is the direct answer."""
    about = ("question", "budget", "context", "pause", "index", "span", "answer_format")
    engine = {key: more.pop(key) for key in about if key in more}
    engine.setdefault("index", Index(video.span.end, KNOWN if known else ()))
    return play(video, {"name": "planner", **more}, script, capabilities=capabilities, **engine)


def call(name: str, _id: str = "1", **arguments: Any) -> Reply:
    """A reply that is one native call."""
    return Reply("", finish="calls", calls=(ToolCall(_id, name, json.dumps(arguments)),))


def calls(*each: Reply) -> Reply:
    """Several native calls in one reply."""
    return Reply("", finish="calls", calls=tuple(call for reply in each for call in reply.calls))


def slot(tool: str, **arguments: Any) -> str:
    """A reply that is one call in JSON."""
    return json.dumps({"thought": "so", "tool": tool, **arguments})


def used(done: Performance) -> list[ToolEvent]:
    """The tools that were applied."""
    return [event for event in done.run.trace.events if isinstance(event, ToolEvent)]


def heard(done: Performance, number: int = -1) -> str:
    """The words of the last message of a call's prompt."""
    return words(done.calls[number].prompt[-1])


def words(message: Message) -> str:
    """A message without its pictures."""
    return "".join(part for part in message.parts if isinstance(part, str))


def pictures(message: Message) -> list[float]:
    """Seconds of the pictures of a message."""
    return [part.time for part in message.parts if isinstance(part, Picture)]


def repeat(*lines: Said) -> Iterable[Said]:
    """These lines, of which the last goes on for ever."""
    yield from lines
    while True:
        yield lines[-1]
