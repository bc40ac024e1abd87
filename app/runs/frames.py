"""A run as named server-sent events: what happens as it happens, then the answer or the error."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any

from app.runs.live import Heard, LiveRun
from app.stream import sse


async def frames(live: LiveRun, quiet: float) -> AsyncGenerator[bytes | None]:
    """Everything that a living run tells, then its response; None for silence. Raises what the run raises."""
    number = live.first - 1
    async for told in live.follow(quiet=quiet):
        if told is None or isinstance(told, Heard):
            yield None if told is None else heard(told)
            continue
        number = told.seq
        yield happened(told.seq, told.choice, told.data)
    yield answered(number + 1, await live.ended())


def happened(seq: int, choice: int, data: dict[str, Any]) -> bytes:
    """One event."""
    return sse({**data, "choice": choice}, name=data["event"], number=seq)


def heard(piece: Heard) -> bytes:
    """What the model writes just now. It has no number: it is not kept, and the event `asked` says all of it."""
    return sse({**piece.data, "choice": piece.choice}, name="delta")


def answered(seq: int, response: dict[str, Any]) -> bytes:
    """The end of a run that was completed."""
    return sse(response, name="answer", number=seq)


def failed(body: dict[str, Any], seq: int | None = None) -> bytes:
    """The end of any other run; `body` is an error's."""
    return sse(body, name="error", number=seq)
