"""An engine that follows a script: for tests, and for writing strategies without a model."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from math import log
from typing import Self

from agents.engines.base import (
    AnswerFormat,
    Capability,
    Engine,
    EngineError,
    Generation,
    OnText,
    Prompt,
    Reply,
    RequestObserver,
    Sampling,
    Token,
    pictures_of,
)

ScriptLine = str | Mapping[str, float] | Reply
Script = Iterable[ScriptLine] | Callable[[Prompt, Sampling, int], Iterable[ScriptLine]]


@dataclass(frozen=True, slots=True)
class RecordedCall:
    """One call of `generate`."""

    prompt: Prompt
    sampling: Sampling
    n: int

    @property
    def frames(self) -> int:
        """Pictures in the prompt."""
        return len(pictures_of(self.prompt))

    @property
    def times(self) -> tuple[float, ...]:
        """Times of the pictures, in seconds."""
        return tuple(picture.time for picture in pictures_of(self.prompt))

    @property
    def text(self) -> str:
        """All text of the prompt."""
        return "".join(part for message in self.prompt for part in message.parts if isinstance(part, str))


@dataclass
class ScriptedEngine(Engine):
    """Replies with the next lines of a script, or with the lines that a function returns for the call.

    A line is a text, a distribution over the choices, or a whole Reply. Every call takes `pause` seconds and is
    recorded in `calls`; `cancelled` counts the cancelled ones. A streamed reply comes word by word, each after
    `word_pause` seconds.
    """

    script: Script
    capabilities: frozenset[Capability] = frozenset({"logprobs", "choices", "stream"})
    model: str = "scripted"
    answer_format: AnswerFormat = "letter"
    side: int = 64
    tokens_per_frame: int = 16
    min_side: int = 64
    frames: int | None = None
    context: int | None = None
    max_pictures: int | None = None
    problem: str | None = None
    pause: float = 0.0
    word_pause: float = 0.0
    calls: list[RecordedCall] = field(default_factory=list)
    cancelled: int = 0
    tenants: list[str] = field(default_factory=list)

    @classmethod
    def open(
        cls,
        place: str,
        options: Mapping[str, str],  # noqa: ARG003
        *,
        api_key: str | None = None,  # noqa: ARG003
        observer: RequestObserver | None = None,  # noqa: ARG003
    ) -> Self:
        """`scripted:TEXT` always replies with this text, and is certain of it where it is one of the choices."""
        return cls(lambda _, sampling, n: [_echo(place, sampling)] * n)

    def __post_init__(self) -> None:
        self._lines = iter(()) if callable(self.script) else iter(self.script)

    async def generate(self, prompt: Prompt, sampling: Sampling, n: int, on_text: OnText | None = None) -> Generation:
        self.calls.append(RecordedCall(prompt, sampling, n))
        try:
            await asyncio.sleep(self.pause)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        lines = self.script(prompt, sampling, n) if callable(self.script) else self._next(n)
        replies = tuple(_reply(line) for line in lines)
        if on_text is not None and sampling.streams(n):
            await self._stream(replies[0].text, on_text)
        written = sum(len(part.encode()) for message in prompt for part in message.parts if isinstance(part, str))
        return Generation(
            replies=replies,
            prompt_tokens=written + self.picture_tokens(prompt),
            completion_tokens=sum(max(len(reply.tokens), 1) for reply in replies),
        )

    async def _stream(self, text: str, on_text: OnText) -> None:
        try:
            for word in text.replace(" ", " \0").split("\0"):
                await asyncio.sleep(self.word_pause)
                on_text(word)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise

    def frame_tokens(self, side: int) -> int:
        """Tokens of a frame: fewer for a smaller one, by area."""
        return max(1, round(self.tokens_per_frame * (side / self.side) ** 2))

    def for_tenant(self, tenant: str) -> Self:
        """The same engine; `tenants` records for whom."""
        self.tenants.append(tenant)
        return self

    def _next(self, n: int) -> list[ScriptLine]:
        try:
            return [next(self._lines) for _ in range(n)]
        except StopIteration:
            raise EngineError("the script has no more lines") from None


def _reply(line: ScriptLine) -> Reply:
    if isinstance(line, Reply):
        return line
    if isinstance(line, str):
        return Reply(line, tuple(Token(word, log(0.9)) for word in line.replace(" ", " \0").split("\0")))
    best = max(line, key=lambda each: line[each])
    return Reply(best, (Token(best, log(max(line[best], 1e-9))),), probabilities=dict(line))


def _echo(text: str, sampling: Sampling) -> ScriptLine:
    if not sampling.choices:
        return text
    likely = [each for each in sampling.choices if each == text] or sampling.choices
    return {each: 1 / len(likely) if each in likely else 0.0 for each in sampling.choices}
