"""A model server over HTTP: what can go wrong on the way, said in plain words."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from random import Random
from typing import Any

import httpx

from agents.engine import EngineError

_ATTEMPTS = 3
_FIRST_PAUSE = 0.25  # seconds, doubled each time, and up to twice that at random so that clients spread out
_LONGEST_PAUSE = 20.0  # seconds; a server that asks for more is down as far as a waiting caller is concerned
_BUSY = (429, 503)


class Refused(EngineError):
    """The server understood and declined (4xx): another wording of the request may do."""


class Server:
    """One OpenAI-compatible server. `base` ends before `/chat/completions`.

    Requests are repeated only where the server cannot have worked on them: it was not reached, or it said that it is
    too busy (429, 503). After anything else the prompt may have been read, and reading it again costs as much.
    """

    def __init__(
        self, base: str, api_key: str | None, *, seconds: float, transport: httpx.AsyncBaseTransport | None = None
    ) -> None:
        self.base = base.rstrip("/")
        self._client = httpx.AsyncClient(
            headers={"Authorization": f"Bearer {api_key}"} if api_key else {},
            timeout=httpx.Timeout(seconds, connect=5.0, pool=None),
            # Shorter than the 5 seconds after which most servers hang up on an idle connection.
            limits=httpx.Limits(max_connections=64, keepalive_expiry=3.0),
            transport=transport,
        )
        self._seconds = seconds
        self._random = Random()

    async def get(self, path: str) -> Any:
        """The JSON at a path. Raises EngineError."""
        return await self._send("GET", path, None)

    async def post(self, path: str, body: Mapping[str, Any]) -> Any:
        """The JSON that answers a JSON body. Raises EngineError. Cancelling hangs up, which stops the server."""
        return await self._send("POST", path, body)

    async def close(self) -> None:
        """Close all connections."""
        await self._client.aclose()

    async def _send(self, method: str, path: str, body: Mapping[str, Any] | None) -> Any:
        for attempt in range(_ATTEMPTS):
            last = attempt == _ATTEMPTS - 1
            try:
                response = await self._client.request(method, self.base + path, json=body)
            except (httpx.ConnectError, httpx.ConnectTimeout) as error:
                if last:
                    raise EngineError(f"nothing answers at {self.base}: is the model server running?") from error
                await asyncio.sleep(self._pause(attempt))
                continue
            except httpx.TimeoutException as error:
                raise EngineError(f"{self.base} did not answer within {self._seconds:g} s") from error
            except (httpx.HTTPError, httpx.InvalidURL) as error:
                raise EngineError(f"the connection to {self.base} broke: {error}") from error
            pause = self._pause(attempt, response.headers.get("retry-after"))
            if response.status_code not in _BUSY or last or pause > _LONGEST_PAUSE:
                return self._read(response)
            await asyncio.sleep(pause)
        raise AssertionError("the last attempt returns or raises")

    def _pause(self, attempt: int, asked: str | None = None) -> float:
        own: float = _FIRST_PAUSE * 2**attempt * self._random.uniform(1, 2)
        try:
            return max(own, float(asked or 0))
        except ValueError:  # a date: rare, and as good as no advice
            return own

    def _read(self, response: httpx.Response) -> Any:
        status = response.status_code
        if status in _BUSY:
            raise EngineError(f"{self.base} is too busy or not ready ({status}): {_message(response)}")
        if status in (401, 403):
            raise EngineError(f"{self.base} does not accept the key ({status}): {_message(response)}")
        if 400 <= status < 500:
            raise Refused(f"{self.base} refused the request ({status}): {_message(response)}")
        if not response.is_success:
            raise EngineError(f"{self.base} failed ({status}): {_message(response)}")
        try:
            return response.json()
        except ValueError as error:
            raise EngineError(f"{self.base} sent something that is not JSON") from error


def _message(response: httpx.Response) -> str:
    """The server's own words, whichever of the customary forms it sends them in."""
    try:
        found = response.json()
    except ValueError:
        found = response.text
    for key in ("error", "message", "detail"):
        if isinstance(found, dict) and key in found:
            found = found[key]
    return str(found).strip()[:500] or response.reason_phrase
