"""A stub of a model server: real HTTP on a real port, replies from a list."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Awaitable, Callable, Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from time import sleep
from typing import Any

import uvicorn

from agents.engines.openai.probe import PROBE_QUESTION

Json = dict[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


@dataclass(frozen=True)
class Answer:
    """What the stub sends: a status, a body (JSON unless it is text), headers, and seconds to wait before.

    `pace`: seconds before each event of a stream. A stream `breaks` after so many.
    """

    body: Json | str
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    pause: float = 0.0
    pace: float = 0.0
    breaks: int | None = None


@dataclass
class Stub:
    """Answers `/v1/models` and `/v1/chat/completions`, the latter by a function of the request's body, and `/tokenize`.

    `bodies` are the chat requests in order, `asked` those that do not belong to a probe; `left` is set when a client
    hangs up before its answer.
    """

    answer: Callable[[Json], Answer]
    models: Json
    bodies: list[Json] = field(default_factory=list)
    keys: list[str | None] = field(default_factory=list)
    left: threading.Event = field(default_factory=threading.Event)
    url: str = ""
    counting: Answer | None = None

    @property
    def asked(self) -> list[Json]:
        """Chat requests of callers."""
        return [body for body in self.bodies if not is_probe(body)]

    async def respond(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one HTTP request."""
        headers = dict(scope["headers"])
        self.keys.append(headers[b"authorization"].decode() if b"authorization" in headers else None)
        content = await _content(receive)
        answer = Answer(self.models)
        if scope["path"].endswith("/chat/completions"):
            self.bodies.append(json.loads(content))
            answer = self.answer(self.bodies[-1])
            if self.bodies[-1].get("stream"):
                answer = streamed(answer)
        elif scope["path"].endswith("/tokenize"):
            counted = Answer({"count": len(json.loads(content)["prompt"].split())})
            answer = self.counting or counted
        if not await self._stays(receive, answer.pause):
            return
        if isinstance(answer.body, str) and answer.body.startswith("data:"):
            await self._stream(receive, send, answer)
        else:
            await _send(send, answer)

    async def _stream(self, receive: Receive, send: Send, answer: Answer) -> None:
        pairs = [(b"content-type", b"text/event-stream")]
        await send({"type": "http.response.start", "status": 200, "headers": pairs})
        for event in str(answer.body).split("\n\n")[: answer.breaks]:
            if not await self._stays(receive, answer.pace):
                return
            await send({"type": "http.response.body", "body": f"{event}\n\n".encode(), "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    async def _stays(self, receive: Receive, seconds: float) -> bool:
        """Whether the client is still there after so many seconds."""
        if not seconds:
            return True
        try:
            await asyncio.wait_for(receive(), seconds)
        except TimeoutError:
            return True
        self.left.set()
        return False


async def _send(send: Send, answer: Answer) -> None:
    text = answer.body if isinstance(answer.body, str) else json.dumps(answer.body)
    headers = {"content-type": "application/json", **answer.headers}
    pairs = [(name.encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": answer.status, "headers": pairs})
    await send({"type": "http.response.body", "body": text.encode()})


async def _content(receive: Receive) -> bytes:
    content, more = b"", True
    while more:
        message = await receive()
        content, more = content + message.get("body", b""), message.get("more_body", False)
    return content


class StubServers:
    """Many stubs on one port, because starting a server takes longer than most tests."""

    def __init__(self) -> None:
        self._stubs: dict[str, Stub] = {}
        self.url = ""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI application: `/7/v1/models` is for the stub with number 7."""
        if scope["type"] == "http":
            await self._stubs[scope["path"].split("/")[1]].respond(scope, receive, send)

    def add(self, stub: Stub) -> Stub:
        """Give a stub its address."""
        number = str(len(self._stubs))
        self._stubs[number] = stub
        stub.url = f"{self.url}/{number}/v1"
        return stub

    @contextmanager
    def open(self, port: int = 0) -> Iterator[StubServers]:
        """Serve on a port, or a free one, for as long as the context lasts."""
        server = uvicorn.Server(uvicorn.Config(self, port=port, log_level="error", ws="none", lifespan="off"))
        thread = threading.Thread(target=server.run)
        thread.start()
        while not server.started:
            if not thread.is_alive():
                raise RuntimeError("the stubs' server did not start")
            sleep(0.01)
        self.url = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
        try:
            yield self
        finally:
            server.should_exit = True
            thread.join()


def models(owner: str = "vllm", name: str = "stub-vl", **facts: Any) -> Json:
    """A list of one model."""
    return {"object": "list", "data": [{"id": name, "object": "model", "owned_by": owner, **facts}]}


def is_probe(body: Json) -> bool:
    """Whether this is what an engine asks to find out what a server can do."""
    return PROBE_QUESTION in [part.get("text") for part in parts_of(body)] + [
        each["content"] for each in body["messages"]
    ]


def reply(*texts: str, prompt_tokens: int = 7, cached: int = 0, **logprobs: Any) -> Json:
    """A chat completion with these samples; `tokens` and `likely` may be given for all of them."""
    return {
        "object": "chat.completion",
        "choices": [
            {
                "index": index,
                "message": {"role": "assistant", "content": text},
                "finish_reason": "stop",
                "logprobs": {"content": positions(text, **logprobs)},
            }
            for index, text in enumerate(texts)
        ],
        "usage": {
            "prompt_tokens": prompt_tokens,
            "completion_tokens": len(texts),
            "total_tokens": prompt_tokens + len(texts),
            "prompt_tokens_details": {"cached_tokens": cached},
        },
    }


def positions(text: str, likely: Mapping[str, float] | None = None) -> list[Json]:
    """A reply as one token, and the log-probabilities of what might have stood in its place."""
    listed = [{"token": token, "logprob": logprob, "bytes": None} for token, logprob in (likely or {}).items()]
    return [{"token": text, "logprob": -0.1, "bytes": list(text.encode()), "top_logprobs": listed}]


def streamed(answer: Answer) -> Answer:
    """The same answer in chunks, a word each, and its usage in the last one; errors and texts stay as they are."""
    if answer.status != 200 or isinstance(answer.body, str):
        return answer
    (choice,) = answer.body["choices"]
    message, finish = choice["message"], choice["finish_reason"]
    thought = [{"reasoning": word} for word in _words(message.get("reasoning"))]
    said = [{"content": word} for word in _words(message.get("content"))]
    deltas = [{"role": "assistant", "content": ""}, *thought, *said]
    chunks = [{"choices": [{"index": 0, "delta": delta, "finish_reason": None}]} for delta in deltas]
    last = {"index": 0, "delta": {}, "finish_reason": finish, "logprobs": choice.get("logprobs")}
    events = [*chunks, {"choices": [last]}, {"choices": [], "usage": answer.body["usage"]}]
    lines = [f"data: {json.dumps(event)}\n\n" for event in events]
    return replace(answer, body="".join([*lines, "data: [DONE]\n\n"]))


def _words(text: str | None) -> list[str]:
    return [word for word in (text or "").replace(" ", " \0").split("\0") if word]


def talkative(body: Json) -> Answer:
    """A well-behaved server: certain of the first letter or word it is offered, else it says its seed."""
    tokens = 20 + sum(60 * _frames(part) for part in parts_of(body)) + 30 * len(body.get("tools", ()))
    if "response_format" in body:
        return Answer(reply('{"a": 1}', prompt_tokens=tokens))
    if body.get("top_logprobs"):
        asked = body.get("structured_outputs", {}).get("choice", ["A", "B"])
        likely = {ways: -0.25 if at == 0 else -2.5 - at for at, ways in enumerate(asked)}
        return Answer(reply(asked[0], prompt_tokens=tokens, likely=likely))
    said = "same" if body["temperature"] == 0 else f"seed {body.get('seed')}"
    return Answer(
        reply(*(f"{said} {index}" if body["temperature"] else said for index in range(body["n"])), prompt_tokens=tokens)
    )


def _frames(part: Json) -> int:
    url = (part.get("image_url") or part.get("video_url") or {"url": ""})["url"]
    return 0 if part["type"] == "text" else 1 if url is None else len(url.split(",")) - 1


def parts_of(body: Json) -> list[Json]:
    """All content parts of a request's messages."""
    contents = [message["content"] for message in body["messages"]]
    return [part for content in contents if isinstance(content, list) for part in content]


@dataclass
class CachingServer:
    """Answers as `talkative`, and caches media under their names, as vLLM does; refuses an unknown name without bytes.

    For each request but those of probes, `brought` has the names sent with bytes, `named` those sent without.
    """

    kept: set[str] = field(default_factory=set)
    brought: list[list[str]] = field(default_factory=list)
    named: list[list[str]] = field(default_factory=list)
    refused: int = 0
    pause: float = 0.0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __call__(self, body: Json) -> Answer:
        with self._lock:
            media = [part for part in parts_of(body) if part["type"] != "text"]
            brought = [part["uuid"] for part in media if _url(part) is not None and "uuid" in part]
            named = [part["uuid"] for part in media if _url(part) is None]
            if not is_probe(body):
                self.brought.append(brought)
                self.named.append(named)
            if missing := [name for name in named if name not in self.kept]:
                self.refused += 1
                message = f"Cache miss for image at index {named.index(missing[0])} but data is not provided."
                return Answer({"error": {"message": message, "type": "BadRequestError", "code": 400}}, 400)
            self.kept.update(brought)
        answer = talkative(body)
        return answer if is_probe(body) else Answer(answer.body, pause=self.pause)


def _url(part: Json) -> str | None:
    found: str | None = part[part["type"]]["url"]
    return found
