"""From finished answers to a chat completion."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from agents.trace import Asked, Event
from app.chat.asked import Asked as Form
from app.chat.completion import (
    ChatCompletion,
    ChatReport,
    Choice,
    CompletionDetails,
    Finish,
    PromptDetails,
    Reply,
    Usage,
)
from app.chat.narration import narrative
from app.schemas import AnswerResponse

_HIDDEN = frozenset({"think", "verify"})
"""Calls that think or judge."""
_UNFORMED = "The answer could not be put into the JSON that was asked for; it is in secondlook.answer."


@dataclass(frozen=True, slots=True)
class Take:
    """One answer and what happened on the way to it."""

    answer: AnswerResponse
    events: Sequence[Event]


def complete(
    takes: Sequence[Take], form: Form, *, as_json: bool, run_id: str, model: str, created: int
) -> ChatCompletion:
    """The reply, one choice for each take."""
    first, *others = [take.answer for take in takes]
    return ChatCompletion(
        id=completion_id(run_id),
        created=created,
        model=model,
        system_fingerprint=fingerprint(first.report.model),
        choices=[_choice(number, take, form, as_json) for number, take in enumerate(takes)],
        usage=usage(event for take in takes for event in take.events),
        secondlook=ChatReport(**dict(first), others=others),
    )


def completion_id(run_id: str) -> str:
    """The name of the reply that a run makes."""
    return f"chatcmpl-{run_id.removeprefix('run_')}"


def fingerprint(model: str) -> str:
    """A name for what answered; it changes with the model."""
    return f"fp_{hashlib.sha256(model.encode()).hexdigest()[:12]}"


def usage(events: Iterable[Event]) -> Usage:
    """The bill of these events."""
    calls = [event for event in events if isinstance(event, Asked)]
    prompt, written = sum(call.prompt_tokens for call in calls), sum(call.completion_tokens for call in calls)
    return Usage(
        prompt_tokens=prompt,
        completion_tokens=written,
        total_tokens=prompt + written,
        prompt_tokens_details=PromptDetails(cached_tokens=sum(call.cached_tokens for call in calls)),
        completion_tokens_details=CompletionDetails(
            reasoning_tokens=sum(call.completion_tokens for call in calls if call.purpose in _HIDDEN)
        ),
    )


def _choice(number: int, take: Take, form: Form, as_json: bool) -> Choice:
    content, refusal = _content(take, form, as_json)
    reasoning = narrative(take.events)
    message = Reply(content=content, refusal=refusal, reasoning=reasoning, reasoning_content=reasoning)
    return Choice(index=number, message=message, finish_reason=_finish(take, content))


def _content(take: Take, form: Form, as_json: bool) -> tuple[str | None, str | None]:
    """What to say, or why JSON cannot be said. What the model said stands even if it is no answer to the question.

    Nothing at all is an empty text: many clients take a content for granted.
    """
    answer = take.answer
    if as_json:
        if answer.structured is None:
            return None, _UNFORMED
        return json.dumps(answer.structured, ensure_ascii=False), None
    said = None if answer.answer is None else form.write(answer.answer, answer.option)
    if said is None:
        replies = (event.replies for event in reversed(take.events) if isinstance(event, Asked))
        said = next((reply.strip() for each in replies for reply in each if reply.strip()), "")
    return said, None


def _finish(take: Take, content: str | None) -> Finish:
    if take.answer.answer is None and take.answer.report.stopped == "budget":
        return "length"
    cut = (event for event in take.events if isinstance(event, Asked) and event.cut)
    said = content or ""
    return "length" if said and any(r.rstrip().endswith(said) for event in cut for r in event.replies) else "stop"
