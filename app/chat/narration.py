"""What a run does, in words that a reader of a chat sees as the assistant's reasoning."""

from __future__ import annotations

from collections.abc import Iterable

from agents.trace import Asked, Began, Event, Looked, Noted, Proposed, Used

_SILENT = frozenset({"direct"})
"""Calls whose reply is the answer itself."""


def narrate(event: Event) -> str:
    """A line, or the model's own thoughts; empty for what a reader need not know."""
    match event:
        case Began():
            return f"{event.span[:1].upper()}{event.span[1:]}:\n"
        case Looked(times=()):
            return ""
        case Looked():
            first, last = min(event.times), max(event.times)
            return f"Looked at {_frames(len(event.times))} from {first:.1f} to {last:.1f} s.\n"
        case Asked():
            return f"{said}\n" if (said := spoken(event.purpose, *event.replies)) else ""
        case Used():
            return f"Used {event.tool}: {event.summary}\n"
        case Proposed(answer=str()):
            sure = "" if event.confidence is None else f" ({event.confidence:.0%} sure)"
            return f"Best answer so far: {event.answer}{sure}\n"
        case Noted():
            return f"{event.text}\n"
        case _:
            return ""


def spoken(purpose: str, *replies: str) -> str:
    """What the model said in a call; a longer reply only adds to that of a shorter one."""
    if purpose in _SILENT:
        return ""
    said = "\n".join(reply.strip() for reply in replies)
    return said if purpose == "think" else f"Asked to {purpose}: {said}"


def narrative(events: Iterable[Event]) -> str | None:
    """All of a run in words."""
    return "".join(map(narrate, events)) or None


def _frames(count: int) -> str:
    return "1 frame" if count == 1 else f"{count} frames"
