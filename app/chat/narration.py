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
        case Asked() if event.purpose in _SILENT:
            return ""
        case Asked():
            said = "\n".join(reply.strip() for reply in event.replies)
            return f"{said}\n" if event.purpose == "think" else f"Asked to {event.purpose}: {said}\n"
        case Used():
            return f"Used {event.tool}: {event.summary}\n"
        case Proposed(answer=str()):
            sure = "" if event.confidence is None else f" ({event.confidence:.0%} sure)"
            return f"Best answer so far: {event.answer}{sure}\n"
        case Noted():
            return f"{event.text}\n"
        case _:
            return ""


def narrative(events: Iterable[Event]) -> str | None:
    """All of a run in words."""
    return "".join(map(narrate, events)) or None


def _frames(count: int) -> str:
    return "1 frame" if count == 1 else f"{count} frames"
