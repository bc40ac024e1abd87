"""A model server over HTTP: what can go wrong on the way, said in plain words."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from random import Random
from typing import Any

import httpx

from agents.engine import EngineError
from agents.engines.watch import Nobody, Watch

_ATTEMPTS = 3
_FIRST_PAUSE = 0.25  # seconds, doubled each time, and up to twice that at random so that clients spread out
_LONGEST_PAUSE = 20.0  # seconds; a server that asks for more is down as far as a waiting caller is concerned
_CONNECTIONS = 256  # as many requests as vLLM works on at once unless told otherwise; the others wait here
_BUSY = (429, 503)
_BROKEN = 500
_DONE = "[DONE]"
_HERE = frozenset({"127.0.0.1", "::1", "localhost"})
_WORDS = 500  # characters of what a server says that are kept


class Declined(EngineError):
    """The server answered, but not with what was asked for. `words` are its own."""

    def __init__(self, message: str, detail: str, status: int, words: str) -> None:
        super().__init__(message, detail)
        self.status = status
        self.words = words


class Refused(Declined):
    """The server understood and declined (4xx): another wording of the request may do."""


class Failed(Declined):
    """The server broke on the request (5xx)."""


class Server:
    """One OpenAI-compatible server. `base` ends before `/chat/completions`.

    Requests are repeated only where the server cannot have worked on them: it was not reached, or it said that it is
    too busy (429, 503). After anything else the prompt may have been read, and reading it again costs as much.
    `outages` counts how often it could not be reached: whoever keeps what it said should ask again after one.
    Errors name neither its address nor its words to callers, only in their `detail`.
    """

    def __init__(
        self,
        base: str,
        api_key: str | None,
        *,
        seconds: float,
        watch: Watch | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self.base = base.rstrip("/")
        self.outages = 0
        self.watch = watch or Nobody()
        self._client = httpx.AsyncClient(
            headers={"Authorization": f"Bearer {api_key}"} if api_key else {},
            timeout=httpx.Timeout(seconds, connect=5.0, pool=None),
            # Shorter than the 5 seconds after which most servers hang up on an idle connection.
            limits=httpx.Limits(max_connections=_CONNECTIONS, max_keepalive_connections=64, keepalive_expiry=3.0),
            transport=transport,
            trust_env=httpx.URL(base).host not in _HERE,  # a proxy has nothing to do with what is on this machine
        )
        self._seconds = seconds
        self._random = Random()

    @property
    def root(self) -> str:
        """Where the server keeps what is not OpenAI's."""
        return self.base.removesuffix("/v1")

    async def get(self, path: str) -> Any:
        """The JSON at a path. Raises EngineError."""
        return await self._send("GET", self.base + path, None)

    async def post(self, path: str, body: bytes) -> Any:
        """The JSON that answers a JSON body. Raises EngineError. Cancelling hangs up, which stops the server."""
        return await self._send("POST", self.base + path, body)

    async def follow(self, path: str, body: bytes) -> AsyncGenerator[Any]:
        """The JSON of each server-sent event that answers a JSON body, as it comes, until the server says it is done.

        An error that comes as an event is raised as one that comes as a status. Raises EngineError, also when the
        stream breaks off. Closing it hangs up, which stops the server.
        """
        async with aclosing(self._lines(self.base + path, body)) as lines:
            async for line in lines:
                data = line.removeprefix("data:").strip() if line.startswith("data:") else ""
                if data == _DONE:
                    return
                if data:
                    yield self._event(data)
        raise self._error("broke the stream off: it may be restarting")

    async def ask_root(self, path: str, body: Mapping[str, Any]) -> Any:
        """The JSON that answers a JSON body at a path that is not OpenAI's. Raises EngineError."""
        return await self._send("POST", self.root + path, json.dumps(body).encode())

    async def close(self) -> None:
        """Close all connections."""
        await self._client.aclose()

    async def _lines(self, url: str, body: bytes) -> AsyncGenerator[str]:
        response = await self._open("POST", url, body)
        try:
            if not response.is_success:
                await response.aread()
                self._read(response)
            async for line in response.aiter_lines():
                yield line
        except httpx.HTTPError as error:
            raise self._broken(error) from error
        finally:
            await response.aclose()

    def _event(self, data: str) -> Any:
        try:
            event = json.loads(data)
        except ValueError:
            raise self._error("sent something that is not JSON", data[:_WORDS]) from None
        if isinstance(event, dict) and (found := event.get("error")):
            code = found.get("code") if isinstance(found, dict) else None
            self._read(httpx.Response(code if isinstance(code, int) and code >= 400 else _BROKEN, json=event))
        return event

    async def _send(self, method: str, url: str, body: bytes | None) -> Any:
        response = await self._open(method, url, body)
        try:
            await response.aread()
        except httpx.HTTPError as error:
            raise self._broken(error) from error
        finally:
            await response.aclose()
        return self._read(response)

    async def _open(self, method: str, url: str, body: bytes | None) -> httpx.Response:
        """The head of a response; its body is still to be read."""
        headers = {**self.watch.headers(), **({"content-type": "application/json"} if body is not None else {})}
        for attempt in range(_ATTEMPTS):
            last = attempt == _ATTEMPTS - 1
            try:
                request = self._client.build_request(method, url, content=body, headers=headers)
                response = await self._client.send(request, stream=True)
            except httpx.HTTPError as error:
                problem = self._broken(error)
                if last or not isinstance(error, httpx.ConnectError | httpx.ConnectTimeout):
                    raise problem from error
                self.watch.mishap("retried")
                await asyncio.sleep(self._pause(attempt))
                continue
            pause = self._pause(attempt, response.headers.get("retry-after"))
            if response.status_code not in _BUSY or last or pause > _LONGEST_PAUSE:
                return response
            await response.aclose()
            self.watch.mishap("retried")
            await asyncio.sleep(pause)
        raise AssertionError("the last attempt returns or raises")

    def _pause(self, attempt: int, asked: str | None = None) -> float:
        own: float = _FIRST_PAUSE * 2**attempt * self._random.uniform(1, 2)
        try:
            return max(own, float(asked or 0))
        except ValueError:  # a date: rare, and as good as no advice
            return own

    def _broken(self, error: httpx.HTTPError) -> EngineError:
        if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout):
            self.outages += 1
            return self._error("cannot be reached: it is down or restarting", "is it running?")
        if isinstance(error, httpx.TimeoutException):
            return self._error(f"did not answer within {self._seconds:g} s")
        self.outages += 1
        return self._error("broke the connection: it may be restarting", repr(error))

    def _read(self, response: httpx.Response) -> Any:
        if response.is_success:
            return self._json(response)
        status, words = response.status_code, _words(response)
        if status in _BUSY:
            raise self._error(f"is too busy or not ready ({status})", words)
        if status in (401, 403):
            raise self._error(f"does not accept the key ({status})", words)
        refused = 400 <= status < 500
        problem = self._error(f"refused the request ({status})" if refused else f"failed ({status})", words)
        raise (Refused if refused else Failed)(str(problem), problem.detail, status, words)

    def _json(self, response: httpx.Response) -> Any:
        try:
            return response.json()
        except ValueError:
            raise self._error("sent something that is not JSON", _words(response)) from None

    def _error(self, what: str, words: str = "") -> EngineError:
        return EngineError(f"The model server {what}.", f"the model server at {self.base} {what}: {words}".rstrip(": "))


def _words(response: httpx.Response) -> str:
    """The server's own words, whichever of the customary forms it sends them in."""
    try:
        found = response.json()
    except ValueError:
        found = response.text
    for key in ("error", "message", "detail"):
        if isinstance(found, dict) and key in found:
            found = found[key]
    return str(found).strip()[:_WORDS] or response.reason_phrase
