"""A chat completion as a server sends it, and the replies in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from agents.engine import EngineError, Reply, Token

_PARTIAL = "\ufffd"  # what servers show for bytes that are no whole character
_GAP = 16  # characters between two tokens that can be found, at most


class _Part(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class Likely(_Part):
    """A token and its log-probability in nats."""

    token: str
    logprob: float


class Position(Likely):
    """A token that was written, and those that were likely in its place."""

    top_logprobs: list[Likely] = []


class _Logprobs(_Part):
    content: list[Position] | None = None


class _Message(_Part):
    content: str | None = None


class Choice(_Part):
    """One sample."""

    message: _Message
    finish_reason: str | None = None
    logprobs: _Logprobs | None = None

    @property
    def positions(self) -> Sequence[Position]:
        """Its tokens, where the server sends them."""
        return (self.logprobs and self.logprobs.content) or ()

    def reply(self) -> Reply:
        """The sample in our terms."""
        text = self.message.content or ""
        return Reply(text, _spelled(self.positions, text), "length" if self.finish_reason == "length" else "stop")


class _Details(_Part):
    cached_tokens: int | None = None


class _Usage(_Part):
    prompt_tokens: int
    completion_tokens: int = 0
    prompt_tokens_details: _Details | None = None


class Completion(_Part):
    """All samples of one request and their bill. A server that sends no bill is an error: we do not estimate."""

    choices: list[Choice] = Field(min_length=1)
    usage: _Usage

    @property
    def cached_tokens(self) -> int:
        """Prompt tokens that were not read again."""
        details = self.usage.prompt_tokens_details
        return (details and details.cached_tokens) or 0


def completion(data: Any) -> Completion:
    """Read a server's JSON. Raises EngineError."""
    try:
        return Completion.model_validate(data)
    except ValidationError as error:
        where = ".".join(str(each) for each in error.errors()[0]["loc"])
        raise EngineError(f"the model server sent no chat completion: {where}: {error.errors()[0]['msg']}") from None


def _spelled(positions: Sequence[Position], text: str) -> tuple[Token, ...]:
    """Tokens whose texts joined are the reply.

    A token that is no whole characters is shown in as many ways as there are servers. Such a token gets whatever
    stands before the next one that can be found. What comes after the reply, such as the mark that ends a turn, is no
    part of it.
    """
    tokens: list[Token] = []
    read = 0
    for position in positions:
        if read >= len(text):
            break
        piece = position.token
        found = text.find(piece, read, read + len(piece) + _GAP) if piece and _PARTIAL not in piece else -1
        if found < 0:
            tokens.append(Token("", position.logprob))
            continue
        if found > read and tokens:
            tokens[-1] = replace(tokens[-1], text=tokens[-1].text + text[read:found])
            read = found
        end = found + len(piece)
        tokens.append(Token(text[read:end], position.logprob))
        read = end
    if read < len(text) and tokens:
        tokens[-1] = replace(tokens[-1], text=tokens[-1].text + text[read:])
    return tuple(tokens)
