"""HTTP client of a model server: retries, streamed responses, and errors in plain words."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from io import BytesIO
from random import Random
from typing import Any

import aiohttp
import httpx
from aiohttp.http import HttpProcessingError

from agents.engines.base import EngineError, NullObserver, RequestObserver

_MAX_ERROR_CHARS = 500  # kept of a server's error message


@dataclass(frozen=True, slots=True)
class ServerReply:
    """An HTTP response: status, body, and reason phrase."""

    status: int
    content: bytes
    reason: str = ""

    @property
    def ok(self) -> bool:
        """Whether the status is 2xx."""
        return is_success(self.status)

    @property
    def words(self) -> str:
        """The server's error message, from `error`, `message` or `detail`, else the whole body."""
        try:
            found = self.json()
        except ValueError:
            found = self.content.decode(errors="replace")
        for key in ("error", "message", "detail"):
            if isinstance(found, dict) and key in found:
                found = found[key]
        return str(found).strip()[:_MAX_ERROR_CHARS] or self.reason

    def json(self) -> Any:
        """The body read as JSON. Raises ValueError."""
        return json.loads(self.content)


def is_success(status: int) -> bool:
    """Whether a status is 2xx."""
    return 200 <= status < 300


_TOO_LONG = re.compile(
    r"context.{0,10}length|max_model_len|maximum model length|prompt is too long|too many (input )?tokens"
    r"|exceeds? the (available )?context",
    re.IGNORECASE,
)
_CONTEXT = re.compile(r"(?:context length|max_model_len|context size|context window)\D{0,20}(\d{3,})", re.IGNORECASE)
_PROMPT = re.compile(
    r"(?:contains (?:at least )?|resulted in |requested |input length \()(\d{3,})(?: input)?(?: tokens|\))",
    re.IGNORECASE,
)
_PICTURES = re.compile(r"at most (\d+) image", re.IGNORECASE)
_CACHE_MISS = re.compile(r"cache.?miss", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class PromptExcess:
    """How a prompt exceeds a limit: the model takes `context` tokens or `pictures`; the prompt has `tokens`.

    None is unknown.
    """

    context: int | None = None
    tokens: int | None = None
    pictures: int | None = None


def parse_excess(words: str) -> PromptExcess | None:
    """The limit that an error message reports; None if it is about something else."""
    if (pictures := _number(_PICTURES, words)) is not None:
        return PromptExcess(pictures=pictures)
    if not _TOO_LONG.search(words):
        return None
    return PromptExcess(_number(_CONTEXT, words), _number(_PROMPT, words))


def is_cache_miss(words: str) -> bool:
    """Whether an error message says that the server no longer caches a frame."""
    return bool(_CACHE_MISS.search(words))


def _number(pattern: re.Pattern[str], words: str) -> int | None:
    found = pattern.search(words)
    return int(found[1]) if found else None


_ATTEMPTS = 3
_FIRST_PAUSE = 0.25  # seconds, doubled each time, and multiplied by 1 to 2 at random so that clients spread out
_LONGEST_PAUSE = 20.0  # seconds; a server whose Retry-After is longer counts as down
_CONNECTIONS = 256  # vLLM's default for concurrent sequences; other requests wait here
_CONNECT = 5.0  # seconds to connect
_IDLE = 3.0  # seconds until an idle connection is closed; most servers close it after 5
_LINE = 2**20  # bytes; a line of a stream may have twice as many
_LARGE = 2**16  # bytes; a larger body is sent in pieces
_BUSY = (429, 503)
_BROKEN = 500
_DONE = b"[DONE]"
_HERE = frozenset({"127.0.0.1", "::1", "localhost"})
_UNREACHED = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError)
_BROKE = (aiohttp.ClientError, TimeoutError, OSError)


class ServerStatusError(EngineError):
    """The server answered with an error status. `words` is its error message."""

    def __init__(self, message: str, detail: str, status: int, words: str) -> None:
        super().__init__(message, detail)
        self.status = status
        self.words = words


class RequestRefused(ServerStatusError):
    """The server refused the request (4xx)."""


class ServerFailed(ServerStatusError):
    """The server failed (5xx)."""


class ServerClient:
    """Client of one OpenAI-compatible server. `base` ends before `/chat/completions`.

    Requests are repeated only if the server cannot have worked on them: it was not reached, or is too busy (429, 503).
    After any other failure the prompt may have been read, and repeating it would cost as much again. `outages` counts
    lost connections: what is known about the server may be stale after one. Error messages hold neither its address
    nor its error message; `detail` does.

    It uses aiohttp, not httpx: a call takes 0.4 ms of processor time instead of 1.2 ms, and with 16 concurrent calls
    the service adds 0.17 ms to each instead of 1.5 ms. The part `overhead` of
    `python -m tests.bench.engine` measures this.
    """

    def __init__(
        self,
        base: str,
        api_key: str | None,
        *,
        seconds: float,
        observer: RequestObserver | None = None,
    ) -> None:
        self.base = base.rstrip("/")
        self.outages = 0
        self.observer = observer or NullObserver()
        self._headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        self._seconds = seconds
        self._session: aiohttp.ClientSession | None = None
        self._random = Random()

    @property
    def root(self) -> str:
        """Base URL of the paths that are not OpenAI's."""
        return self.base.removesuffix("/v1")

    async def get(self, path: str) -> Any:
        """Get the JSON at a path. Raises EngineError."""
        return await self._send("GET", self.base + path, None)

    async def post(self, path: str, body: bytes) -> Any:
        """Post a JSON body and return the JSON response. Cancelling disconnects, so the server stops.

        Raises EngineError.
        """
        return await self._send("POST", self.base + path, body)

    async def follow(self, path: str, body: bytes) -> AsyncGenerator[Any]:
        """Post a JSON body and yield the JSON of each server-sent event, until `[DONE]`.

        Error events are raised like error statuses. Raises EngineError, also if the stream breaks off. Closing the
        generator disconnects, so the server stops.
        """
        async with aclosing(self._lines(self.base + path, body)) as lines:
            async for line in lines:
                data = line.removeprefix(b"data:").strip() if line.startswith(b"data:") else b""
                if data == _DONE:
                    return
                if data:
                    yield self._event(data)
        raise self._error("broke the stream off: it may be restarting")

    async def ask_root(self, path: str, body: Mapping[str, Any]) -> Any:
        """Post a JSON body to a path that is not OpenAI's. Raises EngineError."""
        return await self._send("POST", self.root + path, json.dumps(body).encode())

    async def close(self) -> None:
        """Close all connections."""
        if self._session is not None:
            await self._session.close()

    def _client(self) -> aiohttp.ClientSession:
        """Opened on first use, because it belongs to the running event loop."""
        if self._session is None:
            url = httpx.URL(self.base)
            # The same certificate authorities as all other clients here: SSL_CERT_FILE's, else certifi's.
            secure = httpx.create_ssl_context() if url.scheme == "https" else True
            self._session = aiohttp.ClientSession(
                headers=self._headers,
                connector=aiohttp.TCPConnector(limit=_CONNECTIONS, keepalive_timeout=_IDLE, ssl=secure),
                timeout=aiohttp.ClientTimeout(sock_connect=_CONNECT, sock_read=self._seconds),
                cookie_jar=aiohttp.DummyCookieJar(),
                read_bufsize=_LINE,
                trust_env=url.host not in _HERE,  # no proxy for servers on this machine
            )
        return self._session

    async def _lines(self, url: str, body: bytes) -> AsyncGenerator[bytes]:
        response = await self._open("POST", url, body)
        if not is_success(response.status):
            self._read(await self._read_body(response))
        try:
            async for line in response.content:
                yield line
        except _BROKE as error:
            raise self._broken(error) from error
        except (ValueError, HttpProcessingError):
            raise self._error(f"sent a line of more than {2 * _LINE} bytes") from None
        finally:
            response.close()

    def _event(self, data: bytes) -> Any:
        try:
            event = json.loads(data)
        except ValueError:
            raise self._error("sent something that is not JSON", ServerReply(_BROKEN, data).words) from None
        if isinstance(event, dict) and (found := event.get("error")):
            code = found.get("code") if isinstance(found, dict) else None
            self._read(ServerReply(code if isinstance(code, int) and code >= 400 else _BROKEN, data))
        return event

    async def _send(self, method: str, url: str, body: bytes | None) -> Any:
        return self._read(await self._read_body(await self._open(method, url, body)))

    async def _read_body(self, response: aiohttp.ClientResponse) -> ServerReply:
        try:
            return ServerReply(response.status, await response.read(), response.reason or "")
        except _BROKE as error:
            raise self._broken(error) from error
        finally:
            response.close()

    async def _open(self, method: str, url: str, body: bytes | None) -> aiohttp.ClientResponse:
        """An open response, to be read and closed by the caller."""
        headers = {**self.observer.headers(), **({"content-type": "application/json"} if body is not None else {})}
        for attempt in range(_ATTEMPTS):
            last = attempt == _ATTEMPTS - 1
            data = body if body is None or len(body) <= _LARGE else BytesIO(body)
            try:
                response = await self._client().request(method, url, data=data, headers=headers, allow_redirects=False)
            except _BROKE as error:
                problem = self._broken(error)
                if last or not isinstance(error, _UNREACHED):
                    raise problem from error
                self.observer.request_failed("retried")
                await asyncio.sleep(self._pause(attempt))
                continue
            if response.status not in _BUSY or last:
                return response
            pause = self._pause(attempt, response.headers.get("retry-after"))
            if pause > _LONGEST_PAUSE:
                return response
            response.close()
            self.observer.request_failed("retried")
            await asyncio.sleep(pause)
        raise AssertionError("the last attempt returns or raises")

    def _pause(self, attempt: int, asked: str | None = None) -> float:
        own: float = _FIRST_PAUSE * 2**attempt * self._random.uniform(1, 2)
        try:
            return max(own, float(asked or 0))
        except ValueError:  # a date: rare, and ignored
            return own

    def _broken(self, error: Exception) -> EngineError:
        if isinstance(error, _UNREACHED):
            self.outages += 1
            return self._error("cannot be reached: it is down or restarting", "is it running?")
        if isinstance(error, TimeoutError):
            return self._error(f"did not answer within {self._seconds:g} s")
        self.outages += 1
        return self._error("broke the connection: it may be restarting", repr(error))

    def _read(self, reply: ServerReply) -> Any:
        status = reply.status
        if reply.ok:
            try:
                return reply.json()
            except ValueError:
                raise self._error("sent something that is not JSON", reply.words) from None
        if status in _BUSY:
            raise self._error(f"is too busy or not ready ({status})", reply.words)
        if status in (401, 403):
            raise self._error(f"does not accept the key ({status})", reply.words)
        refused = 400 <= status < 500
        problem = self._error(f"refused the request ({status})" if refused else f"failed ({status})", reply.words)
        raise (RequestRefused if refused else ServerFailed)(str(problem), problem.detail, status, reply.words)

    def _error(self, what: str, words: str = "") -> EngineError:
        return EngineError(f"The model server {what}.", f"the model server at {self.base} {what}: {words}".rstrip(": "))
