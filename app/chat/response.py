"""Chat completions: their schema, and how finished answers and their events become one."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel, Field

from agents.core.trace import AnswerEvent, Event, FramesEvent, InfoEvent, ModelEvent, SpanBeginEvent, ToolEvent
from app.answers.schemas import AnswerResponse
from app.chat.question import ParsedQuestion

FinishReason = Literal["stop", "length"]


class PromptTokensDetails(BaseModel):
    """Details of the prompt tokens."""

    cached_tokens: int
    audio_tokens: int = 0


class CompletionTokensDetails(BaseModel):
    """Details of the completion tokens. `reasoning_tokens` are those of calls that think or judge."""

    reasoning_tokens: int
    audio_tokens: int = 0


class CompletionUsage(BaseModel):
    """Tokens, summed over all calls of all choices."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: PromptTokensDetails
    completion_tokens_details: CompletionTokensDetails


class AssistantMessage(BaseModel):
    """The assistant's message. `reasoning` is what was done and thought before; clients use both of its names."""

    role: Literal["assistant"] = "assistant"
    content: str | None
    refusal: str | None = Field(None, description="Why there is no content.")
    reasoning: str | None = None
    reasoning_content: str | None = None


class ChatChoice(BaseModel):
    """One choice of a completion."""

    index: int
    message: AssistantMessage
    finish_reason: FinishReason = Field(description="length: cut off at max_tokens, or no answer within the budget.")
    logprobs: None = None


class ChatReport(AnswerResponse):
    """The answer behind the first choice, with confidence and report, and those behind the others."""

    others: list[AnswerResponse] = Field(default=[])


class ChatCompletion(BaseModel):
    """A completion. Its id ends like that of its run: `chatcmpl-…` of `run_…`."""

    id: str
    object: Literal["chat.completion"] = "chat.completion"
    created: int
    model: str
    system_fingerprint: str
    choices: list[ChatChoice]
    usage: CompletionUsage
    secondlook: ChatReport


_ANSWER_PURPOSES = frozenset({"direct"})
"""Calls whose reply is the answer itself."""


def describe_event(event: Event) -> str:
    """An event as a line of reasoning text; empty for events that readers need not see."""
    match event:
        case SpanBeginEvent():
            return f"{event.span[:1].upper()}{event.span[1:]}:\n"
        case FramesEvent(times=()):
            return ""
        case FramesEvent():
            first, last = min(event.times), max(event.times)
            return f"Looked at {_frame_count(len(event.times))} from {first:.1f} to {last:.1f} s.\n"
        case ModelEvent():
            return f"{said}\n" if (said := describe_call(event.purpose, *event.replies)) else ""
        case ToolEvent():
            return f"Used {event.tool}: {event.summary}\n"
        case AnswerEvent(answer=str()):
            sure = "" if event.confidence is None else f" ({event.confidence:.0%} sure)"
            return f"Best answer so far: {event.answer}{sure}\n"
        case InfoEvent():
            return f"{event.text}\n"
        case _:
            return ""


def describe_call(purpose: str, *replies: str) -> str:
    """The reasoning text of a model call. A longer reply only extends the text of a shorter one."""
    if purpose in _ANSWER_PURPOSES:
        return ""
    said = "\n".join(reply.strip() for reply in replies)
    return said if purpose == "think" else f"Asked to {purpose}: {said}"


def reasoning_text(events: Iterable[Event]) -> str | None:
    """The reasoning text of a whole run."""
    return "".join(map(describe_event, events)) or None


def _frame_count(count: int) -> str:
    return "1 frame" if count == 1 else f"{count} frames"


_REASONING_PURPOSES = frozenset({"think", "verify"})
"""Calls that think or judge."""
_NO_JSON_REFUSAL = "The answer could not be put into the JSON that was asked for; it is in secondlook.answer."


@dataclass(frozen=True, slots=True)
class ChoiceResult:
    """One answer and the events that led to it."""

    answer: AnswerResponse
    events: Sequence[Event]


def build_completion(
    takes: Sequence[ChoiceResult], form: ParsedQuestion, *, as_json: bool, run_id: str, model: str, created: int
) -> ChatCompletion:
    """The completion, with one choice for each answer."""
    first, *others = [take.answer for take in takes]
    return ChatCompletion(
        id=completion_id(run_id),
        created=created,
        model=model,
        system_fingerprint=system_fingerprint(first.report.model),
        choices=[_choice(number, take, form, as_json) for number, take in enumerate(takes)],
        usage=usage_of(event for take in takes for event in take.events),
        secondlook=ChatReport(**dict(first), others=others),
    )


def completion_id(run_id: str) -> str:
    """The id of the completion of a run."""
    return f"chatcmpl-{run_id.removeprefix('run_')}"


def system_fingerprint(model: str) -> str:
    """The system fingerprint; it changes with the model."""
    return f"fp_{hashlib.sha256(model.encode()).hexdigest()[:12]}"


def usage_of(events: Iterable[Event]) -> CompletionUsage:
    """The token usage of these events."""
    calls = [event for event in events if isinstance(event, ModelEvent)]
    prompt, written = sum(call.prompt_tokens for call in calls), sum(call.completion_tokens for call in calls)
    return CompletionUsage(
        prompt_tokens=prompt,
        completion_tokens=written,
        total_tokens=prompt + written,
        prompt_tokens_details=PromptTokensDetails(cached_tokens=sum(call.cached_tokens for call in calls)),
        completion_tokens_details=CompletionTokensDetails(
            reasoning_tokens=sum(call.completion_tokens for call in calls if call.purpose in _REASONING_PURPOSES)
        ),
    )


def _choice(number: int, take: ChoiceResult, form: ParsedQuestion, as_json: bool) -> ChatChoice:
    content, refusal = _content(take, form, as_json)
    reasoning = reasoning_text(take.events)
    message = AssistantMessage(content=content, refusal=refusal, reasoning=reasoning, reasoning_content=reasoning)
    return ChatChoice(index=number, message=message, finish_reason=_finish_reason(take, content))


def _content(take: ChoiceResult, form: ParsedQuestion, as_json: bool) -> tuple[str | None, str | None]:
    """The content, or a refusal where JSON cannot be given. An unparsed reply is returned as it is.

    Nothing at all is an empty text: many clients take a content for granted.
    """
    answer = take.answer
    if as_json:
        if answer.structured is None:
            return None, _NO_JSON_REFUSAL
        return json.dumps(answer.structured, ensure_ascii=False), None
    said = None if answer.answer is None else form.format_answer(answer.answer, answer.option)
    if said is None:
        replies = (event.replies for event in reversed(take.events) if isinstance(event, ModelEvent))
        said = next((reply.strip() for each in replies for reply in each if reply.strip()), "")
    return said, None


def _finish_reason(take: ChoiceResult, content: str | None) -> FinishReason:
    if take.answer.answer is None and take.answer.report.stopped == "budget":
        return "length"
    cut = (event for event in take.events if isinstance(event, ModelEvent) and event.cut)
    said = content or ""
    return "length" if said and any(r.rstrip().endswith(said) for event in cut for r in event.replies) else "stop"
