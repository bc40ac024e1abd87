"""Turns a chat request into answer requests, one for each choice, and runs them side by side."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from secrets import randbelow
from typing import Any, ClassVar, Self

from agents.core.budget import Budget
from agents.core.trace import Event
from app.answers.preferences import AnswerSpec, SamplingPreferences
from app.answers.schemas import AnswerRequest, AnswerResponse, VideoInput
from app.answers.service import AnswerService
from app.chat import messages
from app.chat.question import ParsedQuestion, parse_question
from app.chat.response import ChatCompletion, ChoiceResult, build_completion
from app.chat.schemas import ChatRequest
from app.errors import BadRequest
from app.runs.run import EventSink, JobContext

_HARMLESS = frozenset(
    "user metadata store service_tier ignore_eos parallel_tool_calls prompt_cache_key safety_identifier priority "
    "request_id timeout tool_choice".split()
)
"""Fields that are accepted and have no effect on an answer."""
_MAX_SEED = 2**63


@dataclass(frozen=True, slots=True)
class ParsedChat:
    """A chat request, parsed."""

    specs: tuple[AnswerSpec, ...]
    question: ParsedQuestion
    as_json: bool


def parse_chat(request: ChatRequest, strategy: str | None) -> ParsedChat:
    """Parse a request whose model name chose `strategy`. Its seed must be set. Raises BadRequest."""
    said = messages.parse_messages(request.messages)
    source, lost = messages.video_input(said)
    ours = request.secondlook
    asked = parse_question(said.question, ours)
    notes = (*lost, *_ignored(request))
    count = request.n or 1
    answer = AnswerRequest(
        video=source,
        question=asked.text,
        options=asked.options,
        kind=asked.kind,
        instructions=said.instructions,
        history=said.history,
        max_tokens=_max_tokens(request),
        json_schema=_schema(request),
        start=ours.start,
        end=ours.end,
        strategy=_strategy(request, strategy),
        budget=_budget_per_choice(ours.budget, count),
        seed=(request.seed or 0) % _MAX_SEED,
    )
    wishes = _preferences(request, source)
    orders = (AnswerSpec(_seeded(answer, number), wishes, notes, asked.format_answer) for number in range(count))
    return ParsedChat(tuple(orders), asked, as_json=answer.json_schema is not None)


def _seeded(answer: AnswerRequest, number: int) -> AnswerRequest:
    return answer.model_copy(update={"seed": (answer.seed + number) % _MAX_SEED})


def _max_tokens(request: ChatRequest) -> int | None:
    """The longest visible answer, in tokens. A bound on the whole reply bounds its visible part too."""
    bounds = [each for each in (request.max_tokens, request.max_completion_tokens) if each is not None]
    return min(bounds, default=None)


def _strategy(request: ChatRequest, alias: str | None) -> dict[str, Any] | None:
    """The strategy, chosen by the model's name, by the `secondlook` object, or by both if they agree."""
    wanted = request.secondlook.strategy
    if alias is None:
        return wanted
    if wanted is not None and wanted["name"] != alias:
        raise BadRequest(
            f"The model {request.model!r} chooses the strategy {alias!r}, not {wanted['name']!r}.",
            param="secondlook.strategy",
        )
    return wanted or {"name": alias}


def _budget_per_choice(budget: Budget, count: int) -> Budget:
    """The budget of each choice: a share of the whole, but all of the seconds, since choices run side by side."""
    if count == 1:
        return budget
    parts = budget.model_dump(include={"frames", "tokens", "calls"}, exclude_none=True)
    if short := next((name for name, most in parts.items() if most < count), None):
        raise BadRequest(
            f"A budget of {parts[short]} {short} is not enough for {count} choices.", param=f"secondlook.budget.{short}"
        )
    return budget.model_copy(update={name: most // count for name, most in parts.items()})


def _preferences(request: ChatRequest, source: VideoInput) -> SamplingPreferences:
    video = request.media_io_kwargs.video if request.media_io_kwargs else None
    frames, fps = (video.num_frames, video.fps) if video else (None, None)
    return SamplingPreferences(
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
    """Notes on fields that this service does not know. Empty values are ignored."""
    extra = request.model_extra or {}
    if "audio" in (extra.get("modalities") or ()):
        raise BadRequest("This service answers in text only.", param="modalities", code="unsupported_audio")
    said = sorted(name for name, value in extra.items() if value and name not in _HARMLESS)
    return [f"{name}: not known here, ignored" for name in said]


_RANDOM_SEEDS = 2**31


@dataclass(frozen=True)
class ChatJob:
    """A conversation to answer. `strategy` is the one that the model's name chose."""

    request: ChatRequest
    strategy: str | None
    parsed: ParsedChat = field(init=False)
    endpoint: ClassVar[str] = "/v1/chat/completions"

    def __post_init__(self) -> None:
        """Draw a seed if the request has none: clients expect different replies to equal requests."""
        if self.request.seed is None:
            object.__setattr__(self, "request", self.request.model_copy(update={"seed": randbelow(_RANDOM_SEEDS)}))
        object.__setattr__(self, "parsed", parse_chat(self.request, self.strategy))

    @property
    def model(self) -> str:
        """As the request names it."""
        return self.request.model

    def document(self) -> dict[str, Any]:
        """The request, with its seed."""
        request = self.request.model_dump(mode="json", by_alias=True, exclude_none=True)
        return {"request": request, "strategy": self.strategy}

    @classmethod
    def load(cls, document: Mapping[str, Any]) -> Self:
        """The job of a request."""
        return cls(ChatRequest.model_validate(document["request"]), document["strategy"])

    def check(self, answers: AnswerService) -> None:
        """Raise BadStrategy or UnfitEngine."""
        answers.check(self.parsed.specs[0])

    async def run(self, answers: AnswerService, place: JobContext, teller: EventSink) -> ChatCompletion:
        """Answer every choice. The first failure cancels the others."""
        heard: list[list[Event]] = [[] for _ in self.parsed.specs]

        async def take(number: int, order: AnswerSpec) -> AnswerResponse:
            def hear(event: Event) -> None:
                heard[number].append(event)
                teller.on_event(event, number)

            within, reader = order.with_timeout(place.seconds), teller.on_delta(number)
            return await answers.answer(within, place.caller, hear, reader, run_id=place.run_id)

        tasks = [asyncio.ensure_future(take(number, order)) for number, order in enumerate(self.parsed.specs)]
        try:
            found = await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        return build_completion(
            [ChoiceResult(answer, events) for answer, events in zip(found, heard, strict=True)],
            self.parsed.question,
            as_json=self.parsed.as_json,
            run_id=place.run_id,
            model=self.model,
            created=int(place.created_at),
        )
