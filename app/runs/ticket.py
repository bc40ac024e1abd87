"""How a request wants its run: waited for or not, alone or together with its own retries."""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import dataclass, field
from time import monotonic
from typing import Annotated

from fastapi import Header, Request

_RETRY, _TIMEOUT = "x-stainless-retry-count", "x-stainless-read-timeout"
"""What OpenAI's clients tell of themselves: how often they have sent this before, and when they give up."""
_IN_TIME = 0.95
"""Part of the client's patience after which the best answer so far is sent."""
_GAVE_UP = 0.9

IdempotencyKey = Annotated[
    str | None,
    Header(max_length=255, pattern=r"^[!-~]+$", description="The same key and body: the same run, done once."),
]


@dataclass(frozen=True, slots=True)
class Ticket:
    """`digest` of the body, where it may have to be known again. `patience`: seconds until the client gives up."""

    request_id: str = ""
    background: bool = False
    streamed: bool = False
    idempotency_key: str | None = None
    digest: str | None = None
    retry: bool = False
    patience: float | None = None
    began: float = field(default_factory=monotonic)

    @classmethod
    async def of(cls, request: Request, key: str | None, *, background: bool = False, streamed: bool = False) -> Ticket:
        """Read what the headers of a request say. The body must have been read."""
        count = request.headers.get(_RETRY, "")
        body = await request.body() if key or count else None
        return cls(
            request_id=request.state.request_id,
            background=background,
            streamed=streamed,
            idempotency_key=key,
            digest=await asyncio.to_thread(_digest, body) if body is not None else None,
            retry=count.isdecimal() and int(count) > 0,
            patience=_seconds(request.headers.get(_TIMEOUT)),
            began=request.state.began,
        )

    @property
    def deadline(self) -> float | None:
        """When the answer must be sent to be heard, by the monotonic clock. Who hears a stream goes on waiting."""
        if self.background or self.streamed or self.patience is None:
            return None
        return self.began + self.patience * _IN_TIME

    @property
    def timed_out(self) -> bool:
        """Whether a client that is gone has lost its patience, and so will ask again, rather than its interest."""
        return self.patience is not None and monotonic() - self.began >= self.patience * _GAVE_UP

    def quiet(self, usual: float) -> float:
        """Seconds of silence after which a stream should send something, so that the client does not give up."""
        return usual if self.patience is None else min(usual, self.patience / 2)


def _digest(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


def _seconds(text: str | None) -> float | None:
    try:
        seconds = float(text or "")
    except ValueError:
        return None
    return seconds if 0 < seconds < 1e6 else None
