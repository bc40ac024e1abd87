"""Encodes a run as named server-sent events: its events as they happen, then the answer or the error."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any

from app.runs.run import ActiveRun, RunDelta
from app.sse import encode_event


async def stream_run(live: ActiveRun, quiet: float) -> AsyncGenerator[bytes | None]:
    """Everything that a living run tells, then its response; None for silence. Raises what the run raises."""
    number = live.first_seq - 1
    async for told in live.follow(quiet=quiet):
        if told is None or isinstance(told, RunDelta):
            yield None if told is None else encode_delta(told)
            continue
        number = told.seq
        yield encode_run_event(told.seq, told.choice, told.data)
    yield encode_answer(number + 1, await live.result())


def encode_run_event(seq: int, choice: int, data: dict[str, Any]) -> bytes:
    """One event."""
    return encode_event({**data, "choice": choice}, name=data["event"], number=seq)


def encode_delta(piece: RunDelta) -> bytes:
    """What the model writes just now. It has no number: it is not kept, and the event `asked` says all of it."""
    return encode_event({**piece.data, "choice": piece.choice}, name="delta")


def encode_answer(seq: int, response: dict[str, Any]) -> bytes:
    """The end of a run that was completed."""
    return encode_event(response, name="answer", number=seq)


def encode_error(body: dict[str, Any], seq: int | None = None) -> bytes:
    """The end of any other run; `body` is an error's."""
    return encode_event(body, name="error", number=seq)
