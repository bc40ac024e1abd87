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
from aiohttp.http_exceptions import HttpProcessingError

from agents.engines.base import EngineError, NullObserver, RequestObserver

_MAX_ERROR_CHARS = 500  # characters of what a server says that are kept


@dataclass(frozen=True, slots=True)
class ServerReply:
    """An HTTP status, the body that came with it, and the words that came with the status."""

    status: int
    content: bytes
    reason: str = ""

    @property
    def ok(self) -> bool:
        """Whether this is what was asked for."""
        return is_success(self.status)

    @property
    def words(self) -> str:
        """The server's own words, whichever of the customary forms it sends them in."""
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
    """Whether a status says that this is what was asked for."""
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
    """A prompt was too much: the model reads `context` tokens, or `pictures`, and the prompt has `tokens`.

    None is what was not said.
    """

    context: int | None = None
    tokens: int | None = None
    pictures: int | None = None


def parse_excess(words: str) -> PromptExcess | None:
    """What a refusal says about the size of a prompt; None if it is about something else."""
    if (pictures := _number(_PICTURES, words)) is not None:
        return PromptExcess(pictures=pictures)
    if not _TOO_LONG.search(words):
        return None
    return PromptExcess(_number(_CONTEXT, words), _number(_PROMPT, words))


def is_cache_miss(words: str) -> bool:
    """Whether the server no longer has what it was expected to have."""
    return bool(_CACHE_MISS.search(words))


def _number(pattern: re.Pattern[str], words: str) -> int | None:
    found = pattern.search(words)
    return int(found[1]) if found else None


_ATTEMPTS = 3
_FIRST_PAUSE = 0.25  # seconds, doubled each time, and up to twice that at random so that clients spread out
_LONGEST_PAUSE = 20.0  # seconds; a server that asks for more is down as far as a waiting caller is concerned
_CONNECTIONS = 256  # as many requests as vLLM works on at once unless told otherwise; the others wait here
_CONNECT = 5.0  # seconds to reach it
_IDLE = 3.0  # seconds after which a connection is closed; most servers hang up on one after 5
_LINE = 2**20  # bytes; twice as many are the most that an event of a stream may have
_LARGE = 2**16  # bytes; a larger body is not sent all at once
_BUSY = (429, 503)
_BROKEN = 500
_DONE = b"[DONE]"
_HERE = frozenset({"127.0.0.1", "::1", "localhost"})
_UNREACHED = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError)
_BROKE = (aiohttp.ClientError, TimeoutError, OSError)


class ServerStatusError(EngineError):
    """The server answered, but not with what was asked for. `words` are its own."""

    def __init__(self, message: str, detail: str, status: int, words: str) -> None:
        super().__init__(message, detail)
        self.status = status
        self.words = words


class RequestRefused(ServerStatusError):
    """The server understood and declined (4xx): another wording of the request may do."""


class ServerFailed(ServerStatusError):
    """The server broke on the request (5xx)."""


class ServerClient:
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
        watch: RequestObserver | None = None,
    ) -> None:
        self.base = base.rstrip("/")
        self.outages = 0
        self.watch = watch or NullObserver()
        self._headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        self._seconds = seconds
        self._session: aiohttp.ClientSession | None = None
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
                data = line.removeprefix(b"data:").strip() if line.startswith(b"data:") else b""
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
        if self._session is not None:
            await self._session.close()

    def _client(self) -> aiohttp.ClientSession:
        """Opened when it is first needed: it belongs to the event loop in which it is opened."""
        if self._session is None:
            url = httpx.URL(self.base)
            # The authorities that httpx trusts, as all other clients here do: SSL_CERT_FILE's, else certifi's.
            secure = httpx.create_ssl_context() if url.scheme == "https" else True
            self._session = aiohttp.ClientSession(
                headers=self._headers,
                connector=aiohttp.TCPConnector(limit=_CONNECTIONS, keepalive_timeout=_IDLE, ssl=secure),
                timeout=aiohttp.ClientTimeout(sock_connect=_CONNECT, sock_read=self._seconds),
                cookie_jar=aiohttp.DummyCookieJar(),
                read_bufsize=_LINE,
                trust_env=url.host not in _HERE,  # a proxy has nothing to do with what is on this machine
            )
        return self._session

    async def _lines(self, url: str, body: bytes) -> AsyncGenerator[bytes]:
        response = await self._open("POST", url, body)
        if not is_success(response.status):
            self._read(await self._heard(response))
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
        return self._read(await self._heard(await self._open(method, url, body)))

    async def _heard(self, response: aiohttp.ClientResponse) -> ServerReply:
        try:
            return ServerReply(response.status, await response.read(), response.reason or "")
        except _BROKE as error:
            raise self._broken(error) from error
        finally:
            response.close()

    async def _open(self, method: str, url: str, body: bytes | None) -> aiohttp.ClientResponse:
        """The head of a response; its body is still to be read, and the response to be closed."""
        headers = {**self.watch.headers(), **({"content-type": "application/json"} if body is not None else {})}
        for attempt in range(_ATTEMPTS):
            last = attempt == _ATTEMPTS - 1
            data = body if body is None or len(body) <= _LARGE else BytesIO(body)  # which is sent in pieces
            try:
                response = await self._client().request(method, url, data=data, headers=headers, allow_redirects=False)
            except _BROKE as error:
                problem = self._broken(error)
                if last or not isinstance(error, _UNREACHED):
                    raise problem from error
                self.watch.request_failed("retried")
                await asyncio.sleep(self._pause(attempt))
                continue
            if response.status not in _BUSY or last:
                return response
            pause = self._pause(attempt, response.headers.get("retry-after"))
            if pause > _LONGEST_PAUSE:
                return response
            response.close()
            self.watch.request_failed("retried")
            await asyncio.sleep(pause)
        raise AssertionError("the last attempt returns or raises")

    def _pause(self, attempt: int, asked: str | None = None) -> float:
        own: float = _FIRST_PAUSE * 2**attempt * self._random.uniform(1, 2)
        try:
            return max(own, float(asked or 0))
        except ValueError:  # a date: rare, and as good as no advice
            return own

    def _broken(self, error: Exception) -> EngineError:
        if isinstance(error, _UNREACHED):
            self.outages += 1
            return self._error("cannot be reached: it is down or restarting", "is it running?")
        if isinstance(error, TimeoutError):
            return self._error(f"did not answer within {self._seconds:g} s")
        self.outages += 1
        return self._error("broke the connection: it may be restarting", repr(error))

    def _read(self, heard: ServerReply) -> Any:
        status = heard.status
        if heard.ok:
            try:
                return heard.json()
            except ValueError:
                raise self._error("sent something that is not JSON", heard.words) from None
        if status in _BUSY:
            raise self._error(f"is too busy or not ready ({status})", heard.words)
        if status in (401, 403):
            raise self._error(f"does not accept the key ({status})", heard.words)
        refused = 400 <= status < 500
        problem = self._error(f"refused the request ({status})" if refused else f"failed ({status})", heard.words)
        raise (RequestRefused if refused else ServerFailed)(str(problem), problem.detail, status, heard.words)

    def _error(self, what: str, words: str = "") -> EngineError:
        return EngineError(f"The model server {what}.", f"the model server at {self.base} {what}: {words}".rstrip(": "))
