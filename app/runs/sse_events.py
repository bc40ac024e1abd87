"""Encodes a run as named server-sent events: its events as they happen, then the answer or the error."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any

from app.runs.run import ActiveRun, RunDelta
from app.sse import encode_event


async def stream_run(live: ActiveRun, quiet: float) -> AsyncGenerator[bytes | None]:
    """All events of an active run, then its response; None after `quiet` seconds of silence.

    Raises what the run raises.
    """
    number = live.first_seq - 1
    async for told in live.follow(quiet=quiet):
        if told is None or isinstance(told, RunDelta):
            yield None if told is None else encode_delta(told)
            continue
        number = told.seq
        yield encode_run_event(told.seq, told.choice, told.data)
    yield encode_answer(number + 1, await live.result())


def encode_run_event(seq: int, choice: int, data: dict[str, Any]) -> bytes:
    """A recorded event."""
    return encode_event({**data, "choice": choice}, name=data["event"], number=seq)


def encode_delta(piece: RunDelta) -> bytes:
    """A piece of a partial reply. It has no number, since it is not recorded."""
    return encode_event({**piece.data, "choice": piece.choice}, name="delta")


def encode_answer(seq: int, response: dict[str, Any]) -> bytes:
    """The final event of a completed run."""
    return encode_event(response, name="answer", number=seq)


def encode_error(body: dict[str, Any], seq: int | None = None) -> bytes:
    """The final event of any other run; `body` is the error response."""
    return encode_event(body, name="error", number=seq)
