"""Sampling preferences of a client, applied to whichever strategy answers; what cannot be honoured is reported."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from math import ceil
from typing import Any, Self

from agents.core.budget import Budget
from agents.strategies.base import Strategy
from app.answers.schemas import AnswerRequest


@dataclass(frozen=True, slots=True)
class Preference:
    """A value for the parameter `field`, which the client calls `name`.

    `nested`: also applied to the strategies that this one tries. `at_least`, `at_most`: the strategy's own value may be
    higher, or lower. `default`: a strategy without the parameter behaves as if it had this value.
    """

    field: str
    value: float
    name: str
    nested: bool = False
    at_least: bool = False
    at_most: bool = False
    default: float | None = None


@dataclass(frozen=True, slots=True)
class SamplingPreferences:
    """Sampling parameters as the client gave them. `reply_tokens` is the longest reply in tokens.

    `pictures` is the number of pictures that were given one by one and should all be shown.
    """

    frames: int | None = None
    fps: float | None = None
    temperature: float | None = None
    top_p: float | None = None
    reply_tokens: int | None = None
    pictures: int | None = None

    def for_duration(self, seconds: float) -> list[Preference]:
        """The preferences for a video of this many seconds."""
        wishes = []
        counts = [] if self.frames is None else [self.frames]
        if self.fps is not None:
            counts.append(max(1, ceil(self.fps * seconds)))
        if counts:  # as vLLM reads them: both are upper bounds
            word = "fps" if self.frames is None else "num_frames"
            wishes.append(Preference("frames", min(counts), word))
        elif self.pictures is not None:
            wishes.append(Preference("frames", self.pictures, "pictures", nested=True, at_least=True))
        if self.temperature is not None:
            wishes.append(Preference("temperature", self.temperature, "temperature", nested=True, default=0.0))
        if self.top_p is not None:
            wishes.append(Preference("top_p", self.top_p, "top_p", nested=True, default=1.0))
        if self.reply_tokens is not None:
            wishes.append(
                Preference("max_tokens", self.reply_tokens, "max_completion_tokens", nested=True, at_most=True)
            )
        return wishes


def apply_preferences(
    strategy: Strategy, given: Iterable[str], wishes: Iterable[Preference]
) -> tuple[Strategy, list[str]]:
    """Apply preferences to a strategy; also returns notes on those not honoured. `given` parameters stay."""
    kept, notes = frozenset(given), []
    for wish in wishes:
        if wish.field in kept:
            if getattr(strategy, wish.field) != wish.value and not wish.at_least:
                notes.append(f"{wish.name}: the strategy was given its own {wish.field}")
            continue
        changed = _apply(strategy, wish, "strategies" in kept)
        if changed is None and wish.value != wish.default and not (wish.at_least or wish.at_most):
            notes.append(f"{wish.name}: {strategy.name} has no {wish.field}")
        strategy = changed or strategy
        if wish.field == "temperature" and wish.value == 0 and _is_sampled(strategy):
            notes.append(f"{wish.name}: at 0 {strategy.name} draws the same from the same frames again and again")
        if (held := getattr(strategy, wish.field, wish.value)) != wish.value and not (wish.at_least or wish.at_most):
            notes.append(f"{wish.name}: {strategy.name} takes {held:g}, not {wish.value:g}")
    return strategy, notes


def _is_sampled(strategy: Strategy) -> bool:
    """Whether it draws several samples, which should differ."""
    return hasattr(strategy, "temperature") and getattr(strategy, "samples", 1) > 1


def _apply(strategy: Strategy, wish: Preference, own: bool) -> Strategy | None:
    """The strategy with the value clamped to its bounds; None if it has no such parameter.

    `own`: the caller wrote the nested strategies, so parameters set there stay.
    """
    if wish.field in type(strategy).model_fields:
        return _with(strategy, {wish.field: _clamp(strategy, wish)})
    stages = getattr(strategy, "strategies", ()) if wish.nested else ()
    changed = [None if own and wish.field in each.model_fields_set else _apply(each, wish, own) for each in stages]
    if not any(changed):
        return None
    return _with(strategy, {"strategies": tuple(new or old for new, old in zip(changed, stages, strict=True))})


def _with(strategy: Strategy, fields: dict[str, Any]) -> Strategy:
    return type(strategy).model_validate({**dict(strategy), **fields})


def _clamp(strategy: Strategy, wish: Preference) -> float:
    """Clamp the value to the parameter's bounds, and with `at_least` or `at_most` to the current value."""
    schema = type(strategy).model_json_schema()
    shape = schema.get("properties") or schema["$defs"][type(strategy).__name__]["properties"]
    low, high = (shape[wish.field].get(bound, wish.value) for bound in ("minimum", "maximum"))
    now = getattr(strategy, wish.field)
    wanted = max(wish.value, now) if wish.at_least else min(wish.value, now) if wish.at_most else wish.value
    value = min(max(wanted, low), high)
    return int(value) if isinstance(now, int) else value


def _answer_text(answer: str, _: str | None) -> str:
    return answer


@dataclass(frozen=True, slots=True)
class AnswerSpec:
    """An answer request with the client's sampling preferences.

    `format_answer` turns an answer and its option letter into the text that the client reads. `notes` say what of the
    client's request could not be honoured; they go into `report.degraded`.
    """

    request: AnswerRequest
    preferences: SamplingPreferences = SamplingPreferences()
    notes: tuple[str, ...] = ()
    format_answer: Callable[[str, str | None], str] = _answer_text

    def with_timeout(self, seconds: float | None) -> Self:
        """A copy whose budget has at most so many seconds."""
        if seconds is None:
            return self
        budget = self.request.budget.capped(Budget(seconds=seconds))
        return replace(self, request=self.request.model_copy(update={"budget": budget}))
