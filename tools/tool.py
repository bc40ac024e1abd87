"""A tool: arguments as fields, one verb, `apply`; and the one form in which every tool reports."""

from __future__ import annotations

from dataclasses import dataclass
from inspect import cleandoc
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

from tools.moment import Moment, Span
from tools.scene import Scene

Box = tuple[float, float, float, float]
"""left, top, right, bottom, as fractions of width and height."""

Origin = Literal["caption", "subtitle", "ocr", "model", "film"]
"""Where words come from: an index's captions, speech, writing in pictures, a model's answer, the film's own facts."""


_SHORTEST = 0.5  # seconds; what has no length of its own is this long where it matters


class ToolError(Exception):
    """The model called a tool in a way that cannot work. `hint` says what would."""

    def __init__(self, code: str, message: str, hint: str) -> None:
        super().__init__(message)
        self.code = code
        self.hint = hint


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Fact(_Part):
    """Words about some seconds of the film. They are data, whatever they say."""

    start: float
    end: float
    text: str
    origin: Origin = "model"
    score: float | None = Field(default=None, description="How well it fits what was asked for, 0 to 1.")


class Applied(_Part):
    """What was really done after clamping: ranges in seconds, how many frames, how wide in pixels."""

    ranges: tuple[tuple[float, float], ...] = ()
    frames: int = 0
    side: int | None = None


class Cost(_Part):
    """What a tool took: calls to the model, frames shown to it, tokens, seconds on the clock."""

    calls: int = 0
    frames: int = 0
    tokens: int = 0
    seconds: float = 0.0


class Fault(_Part):
    """Why a tool did nothing, and what to try instead."""

    code: str
    message: str
    hint: str


@dataclass(frozen=True, slots=True)
class Exhibit:
    """Pictures that a tool wants shown: these moments, at most `side` pixels long, or one box of them."""

    moments: tuple[Moment, ...]
    side: int | None = None
    box: Box | None = None


class Observation(_Part):
    """What a tool brought: facts, pictures to look at, what was really done, what it took, what to know about it.

    `summary` is in our own words and holds nothing that comes from the film.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)

    summary: str
    data: tuple[Fact, ...] = ()
    applied: Applied = Applied()
    cost: Cost = Cost()
    warnings: tuple[str, ...] = ()
    error: Fault | None = None
    exhibit: Exhibit | None = Field(default=None, exclude=True)

    @property
    def ok(self) -> bool:
        """Whether the tool did what it is for."""
        return self.error is None

    @property
    def spans(self) -> tuple[Span, ...]:
        """The seconds it is about: those of its best facts, else those that were looked at."""
        ends = [(each.start, each.end) for each in ranked(self.data)] or list(self.applied.ranges)
        return tuple(Span(start, max(end, start + _SHORTEST)) for start, end in ends)

    @classmethod
    def failed(cls, error: ToolError) -> Observation:
        """The observation of a tool that could do nothing."""
        fault = Fault(code=error.code, message=str(error), hint=error.hint)
        return cls(summary=f"{error} {error.hint}".strip(), error=fault)


def counted(count: int, noun: str) -> str:
    """A number of things in words."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def ranked(facts: tuple[Fact, ...]) -> tuple[Fact, ...]:
    """Facts, best score first; those without a score keep their order."""
    return tuple(sorted(facts, key=lambda each: -(each.score or 0.0)))


class AnyTool(BaseModel):
    """Arguments of one call. The first line of the documentation is what the model reads about the tool.

    `essential`: the arguments that a short call gives, in order; words come last.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    essential: ClassVar[tuple[str, ...]] = ()
    name: str

    @classmethod
    def manual(cls) -> str:
        """What it does, in one line for the model."""
        return cleandoc(cls.__doc__ or "").splitlines()[0]

    @property
    def arguments(self) -> dict[str, Any]:
        """What was asked for, without what was left out."""
        return self.model_dump(mode="json", exclude={"name"}, exclude_defaults=True)


class Tool(AnyTool):
    """A tool that needs no model. Sync, pure, picklable."""

    def apply(self, scene: Scene) -> Observation:
        """Do it. Raises ToolError for what the model must change, BadVideo."""
        raise NotImplementedError
