"""Parse a chat completion, whole or streamed: replies, reasoning, token log-probabilities, choice probabilities."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import exp
from typing import Any, Literal

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, ValidationError

from agents.engines.base import EngineError, OnText, Reply, Token, ToolCall, choice_spellings

REASONING_TAGS = ("<think>", "</think>")


def join_reasoning(thought: str | None, said: str, tags: tuple[str, str] = REASONING_TAGS) -> str:
    """A reply with its reasoning in front, between `REASONING_TAGS`.

    Servers send the reasoning separately, or leave it in the text between the model's `tags`. Where the chat template
    ends with the opening tag, the text lacks it. Reasoning that was cut off has no closing tag.
    """
    if thought:
        return f"{REASONING_TAGS[0]}{thought}{REASONING_TAGS[1]}{said}" if said else f"{REASONING_TAGS[0]}{thought}"
    opening, closing = tags
    text = said.replace(opening, REASONING_TAGS[0], 1).replace(closing, REASONING_TAGS[1], 1)
    return REASONING_TAGS[0] + text if REASONING_TAGS[1] in text and REASONING_TAGS[0] not in text else text


_PARTIAL = "\ufffd"  # stands for bytes that are not a whole character
_GAP = 16  # the most characters between two tokens that are found


def align_tokens(shown: Sequence[tuple[str, float]], text: str) -> tuple[Token, ...]:
    """Tokens whose texts joined are the reply, from a server's token texts and log-probabilities (nats).

    Servers differ in how they show a token that ends inside a character: it gets the text before the next token that
    is found. White space that the server has stripped, as around reasoning, gets no text. Tokens after the reply,
    such as the end of turn, are dropped.
    """
    tokens: list[Token] = []
    read, waiting = 0, False
    for piece, logprob in shown:
        if read >= len(text):
            break
        found = _find(piece, text, read, 0 if piece.isspace() and not waiting else _GAP)
        if found is None:
            tokens.append(Token("", logprob))
            waiting = waiting or not piece.isspace()
            continue
        if found > read and tokens:
            tokens[-1] = replace(tokens[-1], text=tokens[-1].text + text[read:found])
            read = found
        end = found + len(piece)
        tokens.append(Token(text[read:end], logprob))
        read, waiting = end, False
    if read < len(text) and tokens:
        tokens[-1] = replace(tokens[-1], text=tokens[-1].text + text[read:])
    return tuple(tokens)


def _find(piece: str, text: str, start: int, gap: int) -> int | None:
    if not piece or _PARTIAL in piece:
        return None
    found = text.find(piece, start, start + len(piece) + gap)
    return None if found < 0 else found


class _Part(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class TokenLogprob(_Part):
    """A token and its log-probability in nats."""

    token: str
    logprob: float


class TokenPosition(TokenLogprob):
    """A generated token and its most likely alternatives."""

    top_logprobs: list[TokenLogprob] = []


class _Logprobs(_Part):
    content: list[TokenPosition] | None = None


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


class CompletionChoice(_Part):
    """One sample."""

    message: _Message
    finish_reason: str | None = None
    logprobs: _Logprobs | None = None

    @property
    def positions(self) -> Sequence[TokenPosition]:
        """Its tokens; empty if the server sends none."""
        return (self.logprobs and self.logprobs.content) or ()

    def reply(self, tags: tuple[str, str] = REASONING_TAGS) -> Reply:
        """The sample as a `Reply`. `tags` mark this model's reasoning, where the server leaves it in the text.

        A tool call without an id gets one, because its result must refer to it.
        """
        text = join_reasoning(self.message.thought, self.message.content or "", tags)
        calls = tuple(
            ToolCall(each.id or f"call_{place}", each.function.name, each.function.arguments or "{}")
            for place, each in enumerate(self.message.tool_calls or [])
        )
        tokens = align_tokens([(position.token, position.logprob) for position in self.positions], text)
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
    """All samples of one request and its usage, which is required: token counts are never estimated."""

    choices: list[CompletionChoice] = Field(min_length=1)
    usage: _Usage

    @property
    def cached_tokens(self) -> int:
        """Prompt tokens from the server's prefix cache."""
        details = self.usage.prompt_tokens_details
        return (details and details.cached_tokens) or 0


def parse_completion(data: Any) -> Completion:
    """Validate a chat completion. Raises EngineError."""
    try:
        return Completion.model_validate(data)
    except ValidationError as error:
        where = ".".join(str(each) for each in error.errors()[0]["loc"])
        raise EngineError(f"The model server sent no chat completion: {where}: {error.errors()[0]['msg']}") from None


_UNSEEN = 0.05  # the most that unlisted choices may weigh, relative to the listed ones
_UNCLEAR = 0.01  # the most that ambiguous tokens may weigh, relative to the listed choices


def choice_probabilities(likely: Sequence[TokenLogprob], choices: Sequence[str]) -> dict[str, float] | None:
    """The probability of each choice, summing to 1; None if the listed tokens are not enough to tell.

    A token counts for the only choice that begins with it, in any of its spellings. Servers list only the most likely
    tokens: an unlisted choice counts as 0, provided that its upper bound, the least likely listed token, is
    negligible.
    """
    weights = dict.fromkeys(choices, 0.0)
    unclear = 0.0
    for each in likely:
        meant = _choices_begun_by(each.token, choices)
        if len(meant) == 1:
            weights[meant[0]] += exp(each.logprob)
        elif meant:
            unclear += exp(each.logprob)
    seen = sum(weights.values())
    least = min((exp(each.logprob) for each in likely), default=1.0)
    unseen = least * sum(weight == 0 for weight in weights.values())
    if seen <= 0 or unseen > _UNSEEN * seen or unclear > _UNCLEAR * seen:
        return None
    return {choice: weight / seen for choice, weight in weights.items()}


def _choices_begun_by(token: str, choices: Sequence[str]) -> list[str]:
    """The choices with a spelling that begins with this token."""
    if not token.strip():
        return []
    return [choice for choice in choices if any(way.startswith(token) for way in choice_spellings(choice, choices))]


Json = dict[str, Any]


class StreamedCompletion:
    """A completion with one sample, assembled from chunks. `on_text` receives the text as it will be in `Reply.text`.

    With `silent`, the reasoning may lack its opening tag, so nothing is passed on before its end is seen.
    """

    def __init__(self, on_text: OnText, *, silent: bool = False) -> None:
        self._on_text = on_text
        self._silent = silent
        self._message = {"content": "", "reasoning": ""}
        self._positions: list[Json] = []
        self._finish: str | None = None
        self._usage: Json | None = None

    @property
    def is_done(self) -> bool:
        """Whether the finish reason and the usage have arrived; without them the reply is incomplete."""
        return self._finish is not None and self._usage is not None

    @property
    def completion(self) -> Json:
        """The completion as the server would send it without streaming."""
        logprobs = {"content": self._positions} if self._positions else None
        choice = {"message": self._message, "finish_reason": self._finish, "logprobs": logprobs}
        return {"choices": [choice], "usage": self._usage}

    def add(self, chunk: Json) -> None:
        """Add the next chunk."""
        self._usage = chunk.get("usage") or self._usage
        for choice in chunk.get("choices") or ():
            delta = choice.get("delta") or {}
            self._add_reasoning(delta.get("reasoning") or delta.get("reasoning_content") or "")
            self._add_text(delta.get("content") or "")
            self._positions += (choice.get("logprobs") or {}).get("content") or ()
            self._finish = choice.get("finish_reason") or self._finish

    def _add_reasoning(self, words: str) -> None:
        if words:
            self._on_text(words if self._message["reasoning"] else REASONING_TAGS[0] + words)
            self._message["reasoning"] += words
            self._silent = False

    def _add_text(self, words: str) -> None:
        if not words:
            return
        thought, said = self._message["reasoning"], self._message["content"]
        self._message["content"] += words
        if self._silent:
            self._end_silence()
        else:
            self._on_text(REASONING_TAGS[1] + words if thought and not said else words)

    def _end_silence(self) -> None:
        said = self._message["content"]
        if REASONING_TAGS[1] in said:
            self._silent = False
            self._on_text(said if REASONING_TAGS[0] in said else REASONING_TAGS[0] + said)
