"""A chat request as a job: its choices are answered side by side, and their bills added up."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from secrets import randbelow
from typing import Any, ClassVar, Self

from agents.trace import Event
from app.answers import Answers
from app.chat.completion import ChatCompletion
from app.chat.reading import Reading, read
from app.chat.reply import Take, complete
from app.chat.schemas import ChatRequest
from app.order import Order
from app.runs.job import Place, Teller
from app.schemas import AnswerResponse

_SEEDS = 2**31


@dataclass(frozen=True)
class ChatJob:
    """A conversation to answer. `strategy` is what the model's name chose."""

    request: ChatRequest
    strategy: str | None
    reading: Reading = field(init=False)
    endpoint: ClassVar[str] = "/v1/chat/completions"

    def __post_init__(self) -> None:
        """Without a seed each request draws its own, as clients expect that ask the same several times."""
        if self.request.seed is None:
            object.__setattr__(self, "request", self.request.model_copy(update={"seed": randbelow(_SEEDS)}))
        object.__setattr__(self, "reading", read(self.request, self.strategy))

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

    def check(self, answers: Answers) -> None:
        """Raise BadStrategy or UnfitEngine."""
        answers.check(self.reading.orders[0])

    async def perform(self, answers: Answers, place: Place, teller: Teller) -> ChatCompletion:
        """Answer for each choice; the first that fails ends all."""
        heard: list[list[Event]] = [[] for _ in self.reading.orders]

        async def take(number: int, order: Order) -> AnswerResponse:
            def hear(event: Event) -> None:
                heard[number].append(event)
                teller.tell(event, number)

            within, reader = order.within(place.seconds), teller.reader(number)
            return await answers.answer(within, place.caller, hear, reader, run_id=place.run_id)

        tasks = [asyncio.ensure_future(take(number, order)) for number, order in enumerate(self.reading.orders)]
        try:
            found = await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        return complete(
            [Take(answer, events) for answer, events in zip(found, heard, strict=True)],
            self.reading.asked,
            as_json=self.reading.as_json,
            run_id=place.run_id,
            model=self.model,
            created=int(place.created_at),
        )
