"""What one answer is to be: the request, and how it came to be one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Self

from agents.budget import Budget
from app.schemas import AnswerRequest
from app.wishes import Wishes


def _words(answer: str, _: str | None) -> str:
    return answer


@dataclass(frozen=True, slots=True)
class Order:
    """A request with wishes that hold where its strategy has a place for them.

    `write` makes what the caller reads of an answer and its option letter. `notes` say in words what of the client's
    own request could not be put into it; they become part of the report.
    """

    request: AnswerRequest
    wishes: Wishes = Wishes()  # noqa: RUF009 - frozen
    notes: tuple[str, ...] = ()
    write: Callable[[str, str | None], str] = _words

    def within(self, seconds: float | None) -> Self:
        """The same in no more than so many seconds."""
        if seconds is None:
            return self
        budget = self.request.budget.capped(Budget(seconds=seconds))
        return replace(self, request=self.request.model_copy(update={"budget": budget}))
