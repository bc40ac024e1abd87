"""What one answer is to be: the request, and how it came to be one."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

from agents.budget import Budget
from app.schemas import AnswerRequest
from app.wishes import Wishes


@dataclass(frozen=True, slots=True)
class Order:
    """A request with wishes that hold where its strategy has a place for them.

    `notes` say in words what of the client's own request could not be put into it; they become part of the report.
    """

    request: AnswerRequest
    wishes: Wishes = Wishes()  # noqa: RUF009 - frozen
    notes: tuple[str, ...] = ()

    def within(self, seconds: float | None) -> Self:
        """The same in no more than so many seconds."""
        budget = self.request.budget.capped(Budget(seconds=seconds))
        return replace(self, request=self.request.model_copy(update={"budget": budget}))
