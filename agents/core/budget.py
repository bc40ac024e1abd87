"""What a run may spend, and the meter that holds it to that: charge before the call, settle after."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Resource = Literal["frames", "tokens", "calls", "seconds"]


class BudgetExceeded(Exception):
    """A limit is reached. The runner turns it into the best answer so far; strategies do not catch it."""

    def __init__(self, resource: Resource, wanted: float, left: float) -> None:
        super().__init__(f"{resource}: wanted {wanted:g}, {left:g} left")
        self.resource = resource


class Budget(BaseModel):
    """The most that a run may spend. What is left out is limited by the service alone."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    frames: int | None = Field(default=None, ge=1, description="Frames shown to the model, summed over its calls.")
    tokens: int | None = Field(default=None, ge=1, description="Prompt and completion tokens, summed over its calls.")
    calls: int | None = Field(default=None, ge=1, description="Requests to the model; one may draw many samples.")
    seconds: float | None = Field(default=None, gt=0, description="Wall-clock seconds.")

    def capped(self, other: Budget) -> Budget:
        """The tighter of two budgets, limit by limit."""
        theirs = dict(other)
        return Budget(**{name: _tighter(limit, theirs[name]) for name, limit in self})


def _tighter(one: float | None, other: float | None) -> float | None:
    return min((limit for limit in (one, other) if limit is not None), default=None)


@dataclass(frozen=True, slots=True)
class CallCost:
    """What one call takes from the budget."""

    frames: int = 0
    tokens: int = 0
    calls: int = 0

    def __add__(self, other: CallCost) -> CallCost:
        return CallCost(self.frames + other.frames, self.tokens + other.tokens, self.calls + other.calls)

    def __sub__(self, other: CallCost) -> CallCost:
        return CallCost(self.frames - other.frames, self.tokens - other.tokens, self.calls - other.calls)


class TokenPool:
    """Tokens that several runs spend from. `left` is neither spent nor reserved by any of them."""

    def __init__(self, tokens: int) -> None:
        self.left = tokens


class BudgetMeter:
    """Holds the spending of one run. It is used from one event loop, so charging is atomic between awaits.

    With a `purse`, its tokens are charged to that too, and limited by what others leave in it.
    """

    def __init__(self, budget: Budget, purse: TokenPool | None = None) -> None:
        self.budget = budget
        self.spent = CallCost()
        self._purse = purse
        self._reserved = 0

    def left(self, resource: Literal["frames", "tokens", "calls"]) -> float:
        """How much of a resource is neither spent nor reserved; infinite where there is no limit."""
        limit: int | None = getattr(self.budget, resource)
        spent: int = getattr(self.spent, resource)
        own = float("inf") if limit is None else limit - spent
        return own if self._purse is None or resource != "tokens" else min(own, self._purse.left)

    def reserve(self, cost: CallCost) -> None:
        """Reserve a cost before the work. Raises BudgetExceeded, and then takes nothing."""
        for resource in ("frames", "tokens", "calls"):
            wanted, left = getattr(cost, resource), self.left(resource)
            if wanted > left:
                raise BudgetExceeded(resource, wanted, left)
        self._reserved += cost.tokens
        self._spend(cost)

    def settle(self, reserved: CallCost, actual: CallCost) -> None:
        """Replace a reservation by what the work really cost."""
        self._reserved -= reserved.tokens
        self._spend(actual - reserved)

    def close(self) -> None:
        """The run is over: what calls had reserved that never came back is the others' again."""
        if self._purse is not None:
            self._purse.left += self._reserved
        self._reserved = 0

    def _spend(self, cost: CallCost) -> None:
        self.spent += cost
        if self._purse is not None:
            self._purse.left -= cost.tokens
