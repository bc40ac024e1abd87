"""The wire of a chat reply, whole or in chunks: OpenAI's, with our report beside it. Types only."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field

from app.schemas import AnswerResponse

Finish = Literal["stop", "length"]


class PromptDetails(BaseModel):
    """Of the prompt tokens."""

    cached_tokens: int
    audio_tokens: int = 0


class CompletionDetails(BaseModel):
    """Of the completion tokens. `reasoning_tokens` were written in calls that think or judge, whatever they state."""

    reasoning_tokens: int
    audio_tokens: int = 0


class Usage(BaseModel):
    """Tokens, summed over all calls of all choices."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: PromptDetails
    completion_tokens_details: CompletionDetails


class Reply(BaseModel):
    """What the assistant says. `reasoning` is what was done and thought on the way; both names are in use."""

    role: Literal["assistant"] = "assistant"
    content: str | None
    refusal: str | None = Field(None, description="Why there is no content.")
    reasoning: str | None = None
    reasoning_content: str | None = None


class Choice(BaseModel):
    """One reply."""

    index: int
    message: Reply
    finish_reason: Finish = Field(description="length: cut off at max_tokens, or no answer within the budget.")
    logprobs: None = None


class ChatReport(AnswerResponse):
    """The answer behind the first choice with its confidence and its bill, and those behind the others."""

    others: list[AnswerResponse] = Field(default=[])


class ChatCompletion(BaseModel):
    """A reply to a conversation. Its id ends like that of its run: `chatcmpl-…` of `run_…`."""

    id: str
    object: Literal["chat.completion"] = "chat.completion"
    created: int
    model: str
    system_fingerprint: str
    choices: list[Choice]
    usage: Usage
    secondlook: ChatReport
