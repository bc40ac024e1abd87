"""What a run is to do, in a form that can be written down and done again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, Self

from pydantic import BaseModel

from agents.draft import Reader
from agents.trace import Event
from app.answers import Answers
from app.caller import Caller
from app.order import Order
from app.schemas import AnswerRequest, AnswerResponse
from app.wishes import Wishes


class Teller(Protocol):
    """Hears what happens, each with the number of the answer that it belongs to."""

    def tell(self, event: Event, choice: int) -> None:
        """An event."""

    def reader(self, choice: int) -> Reader | None:
        """Who reads along while the model writes; None if nobody does."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a job is done: for whom, as which run, since when (seconds since 1970), and in how many seconds."""

    caller: Caller
    run_id: str
    created_at: float
    seconds: float | None = None


class Job(Protocol):
    """A request of one of the faces. It has been checked: doing it fails only for what could not be known before."""

    endpoint: ClassVar[str]

    @property
    def model(self) -> str | None:
        """The model's name as the request says it, if it does."""

    def document(self) -> dict[str, Any]:
        """All that `load` needs, as JSON."""

    @classmethod
    def load(cls, document: Mapping[str, Any]) -> Self:
        """The job of a document."""

    def check(self, answers: Answers) -> None:
        """Raise what is wrong with it, before it is begun."""

    async def perform(self, answers: Answers, place: Place, teller: Teller) -> BaseModel:
        """Do it and return the response."""


@dataclass(frozen=True)
class AnswerJob:
    """A question by our own wire."""

    request: AnswerRequest
    endpoint: ClassVar[str] = "/v1/answers"
    model: ClassVar[None] = None

    def document(self) -> dict[str, Any]:
        """The request."""
        return {"request": self.request.model_dump(mode="json", exclude_none=True)}

    @classmethod
    def load(cls, document: Mapping[str, Any]) -> Self:
        """The job of a request."""
        return cls(AnswerRequest.model_validate(document["request"]))

    def check(self, answers: Answers) -> None:
        """Raise BadStrategy or UnfitEngine."""
        answers.check(self._order)

    async def perform(self, answers: Answers, place: Place, teller: Teller) -> AnswerResponse:
        """Answer the question."""
        order = self._order.within(place.seconds)
        return await answers.answer(
            order, place.caller, lambda event: teller.tell(event, 0), teller.reader(0), run_id=place.run_id
        )

    @property
    def _order(self) -> Order:
        return Order(self.request, Wishes(fps=self.request.fps))
