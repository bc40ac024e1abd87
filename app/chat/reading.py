"""From a chat request to the orders behind it: one for each choice, and how its answer is to be written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from agents.budget import Budget
from app.chat import conversation, media
from app.chat.asked import Asked, understand
from app.chat.schemas import ChatRequest
from app.errors import BadRequest
from app.order import Order
from app.schemas import AnswerRequest, Source
from app.wishes import Wishes

_HARMLESS = frozenset(
    "user metadata store service_tier ignore_eos parallel_tool_calls prompt_cache_key safety_identifier priority "
    "request_id timeout tool_choice".split()
)
"""Fields that change nothing about an answer here, whatever they say."""
_SEEDS = 2**63


@dataclass(frozen=True, slots=True)
class Reading:
    """What a chat request comes to."""

    orders: tuple[Order, ...]
    asked: Asked
    as_json: bool


def read(request: ChatRequest, strategy: str | None) -> Reading:
    """Understand a request whose model name chose `strategy`. Its seed must be known. Raises BadRequest."""
    said = conversation.read(request.messages)
    source, lost = media.source(said)
    ours = request.secondlook
    asked = understand(said.question, ours)
    notes = (*lost, *_ignored(request))
    count = request.n or 1
    answer = AnswerRequest(
        video=source,
        question=asked.text,
        options=asked.options,
        kind=asked.kind,
        instructions=said.instructions,
        history=said.history,
        max_tokens=_length(request),
        json_schema=_schema(request),
        start=ours.start,
        end=ours.end,
        strategy=_strategy(request, strategy),
        budget=_share(ours.budget, count),
        seed=(request.seed or 0) % _SEEDS,
    )
    wishes = _wishes(request, source)
    orders = (Order(_seeded(answer, number), wishes, notes, asked.write) for number in range(count))
    return Reading(tuple(orders), asked, as_json=answer.json_schema is not None)


def _seeded(answer: AnswerRequest, number: int) -> AnswerRequest:
    return answer.model_copy(update={"seed": (answer.seed + number) % _SEEDS})


def _length(request: ChatRequest) -> int | None:
    """The longest visible answer. A bound on a whole reply is one on what is visible of it."""
    bounds = [each for each in (request.max_tokens, request.max_completion_tokens) if each is not None]
    return min(bounds, default=None)


def _strategy(request: ChatRequest, alias: str | None) -> dict[str, Any] | None:
    """Chosen by the model's name, or by our own object, or by both if they agree."""
    wanted = request.secondlook.strategy
    if alias is None:
        return wanted
    if wanted is not None and wanted["name"] != alias:
        raise BadRequest(
            f"The model {request.model!r} chooses the strategy {alias!r}, not {wanted['name']!r}.",
            param="secondlook.strategy",
        )
    return wanted or {"name": alias}


def _share(budget: Budget, count: int) -> Budget:
    """Each choice's part of what all of them may spend. They work side by side, so each has all the seconds."""
    if count == 1:
        return budget
    parts = budget.model_dump(include={"frames", "tokens", "calls"}, exclude_none=True)
    if short := next((name for name, most in parts.items() if most < count), None):
        raise BadRequest(
            f"A budget of {parts[short]} {short} is not enough for {count} choices.", param=f"secondlook.budget.{short}"
        )
    return budget.model_copy(update={name: most // count for name, most in parts.items()})


def _wishes(request: ChatRequest, source: Source) -> Wishes:
    video = request.media_io_kwargs.video if request.media_io_kwargs else None
    frames, fps = (video.num_frames, video.fps) if video else (None, None)
    return Wishes(
        frames=frames if frames and frames > 0 else None,
        fps=fps if fps and fps > 0 else None,
        temperature=request.temperature,
        top_p=request.top_p,
        reply_tokens=request.max_completion_tokens,
        pictures=len(source.pictures) if source.pictures else None,
    )


def _schema(request: ChatRequest) -> dict[str, Any] | None:
    """The JSON schema of the reply; None for plain text."""
    wanted = request.response_format
    if wanted is None or wanted.type == "text":
        return None
    return (wanted.json_schema.schema_ or {}) if wanted.json_schema else {"type": "object"}


def _ignored(request: ChatRequest) -> Sequence[str]:
    """What was asked for in fields that this service does not know. Empty values ask for nothing."""
    extra = request.model_extra or {}
    if "audio" in (extra.get("modalities") or ()):
        raise BadRequest("This service answers in text only.", param="modalities", code="unsupported_audio")
    said = sorted(name for name, value in extra.items() if value and name not in _HARMLESS)
    return [f"{name}: not known here, ignored" for name in said]
