"""A chat completion as a server sends it, and the replies in it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, ValidationError

from agents.engine import EngineError, Reply, ToolCall
from agents.engines.remote.spelling import spelled
from agents.engines.remote.thought import TAGS, thought_and_said


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


class _Function(_Part):
    name: str
    arguments: str | None = None


class _Call(_Part):
    id: str = ""
    function: _Function


class _Message(_Part):
    content: str | None = None
    thought: str | None = Field(default=None, validation_alias=AliasChoices("reasoning", "reasoning_content"))
    tool_calls: list[_Call] | None = None


class Choice(_Part):
    """One sample."""

    message: _Message
    finish_reason: str | None = None
    logprobs: _Logprobs | None = None

    @property
    def positions(self) -> Sequence[Position]:
        """Its tokens, where the server sends them."""
        return (self.logprobs and self.logprobs.content) or ()

    def reply(self, tags: tuple[str, str] = TAGS) -> Reply:
        """The sample in our terms. `tags` are around what this model thinks, where the server leaves that in its text.

        A call without a name of its own gets one, because its result must say whose it is.
        """
        text = thought_and_said(self.message.thought, self.message.content or "", tags)
        calls = tuple(
            ToolCall(each.id or f"call_{place}", each.function.name, each.function.arguments or "{}")
            for place, each in enumerate(self.message.tool_calls or [])
        )
        tokens = spelled([(position.token, position.logprob) for position in self.positions], text)
        return Reply(text, tokens, self._finish(), calls=calls)

    def _finish(self) -> Literal["stop", "length", "calls"]:
        if self.message.tool_calls:
            return "calls"
        return "length" if self.finish_reason == "length" else "stop"


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
        raise EngineError(f"The model server sent no chat completion: {where}: {error.errors()[0]['msg']}") from None
