"""Base classes of tools: arguments as fields, `apply` to run them, and the observation that every tool returns."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from inspect import cleandoc, getmembers, isclass
from pkgutil import iter_modules
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

from tools.context import ToolContext
from tools.video.sampling import SampleWindow, Span, format_seconds, widen

Box = tuple[float, float, float, float]
"""left, top, right, bottom, as fractions of width and height."""

Origin = Literal["caption", "subtitle", "ocr", "model", "film"]
"""Where words come from: an index's captions, speech, writing in pictures, a model's answer, the video's own facts."""


_MIN_SECONDS = 0.5  # seconds; what has no length of its own is this long where it matters


class ToolError(Exception):
    """A call that cannot work. `hint` tells the model what would."""

    def __init__(self, code: str, message: str, hint: str) -> None:
        super().__init__(message)
        self.code = code
        self.hint = hint


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Fact(_Frozen):
    """A text about some seconds of the video. It is data, never an instruction."""

    start: float
    end: float
    text: str
    origin: Origin = "model"
    score: float | None = Field(default=None, description="How well it fits what was asked for, 0 to 1.")


class AppliedArguments(_Frozen):
    """The arguments after clamping: ranges in seconds, number of frames, longest side in pixels."""

    ranges: tuple[tuple[float, float], ...] = ()
    frames: int = 0
    side: int | None = None


class ToolCost(_Frozen):
    """The cost of a tool: calls to the model, frames shown to it, tokens, seconds on the clock."""

    calls: int = 0
    frames: int = 0
    tokens: int = 0
    seconds: float = 0.0


class ToolFailure(_Frozen):
    """Why a tool failed, and what to try instead."""

    code: str
    message: str
    hint: str


@dataclass(frozen=True, slots=True)
class FrameRequest:
    """Frames that a tool wants shown: these moments, at most `side` pixels long, or one box of them."""

    moments: tuple[SampleWindow, ...]
    side: int | None = None
    box: Box | None = None


class Observation(_Frozen):
    """The result of a tool: facts, frames to show, the arguments as applied, the cost, and warnings.

    `summary` is trusted text: it holds nothing that comes from the video.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)

    summary: str
    data: tuple[Fact, ...] = ()
    applied: AppliedArguments = AppliedArguments()
    cost: ToolCost = ToolCost()
    warnings: tuple[str, ...] = ()
    error: ToolFailure | None = None
    frame_request: FrameRequest | None = Field(default=None, exclude=True)

    @property
    def ok(self) -> bool:
        """Whether the tool succeeded."""
        return self.error is None

    @property
    def spans(self) -> tuple[Span, ...]:
        """The seconds it is about: those of its best facts, else those that were looked at."""
        ends = [(each.start, each.end) for each in ranked(self.data)] or list(self.applied.ranges)
        return tuple(Span(start, max(end, start + _MIN_SECONDS)) for start, end in ends)

    @classmethod
    def failed(cls, error: ToolError) -> Observation:
        """The observation of a tool that could do nothing."""
        fault = ToolFailure(code=error.code, message=str(error), hint=error.hint)
        return cls(summary=f"{error} {error.hint}".strip(), error=fault)


def counted(count: int, noun: str) -> str:
    """A number of things in words."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def ranked(facts: tuple[Fact, ...]) -> tuple[Fact, ...]:
    """Facts, best score first; those without a score keep their order."""
    return tuple(sorted(facts, key=lambda each: -(each.score or 0.0)))


class BaseTool(BaseModel):
    """Arguments of one call. The first line of the documentation is what the model reads about the tool.

    `essential`: the arguments that a short call gives, in order; words come last.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    essential: ClassVar[tuple[str, ...]] = ()
    name: str

    @classmethod
    def docs(cls) -> str:
        """What it does, in one line for the model."""
        return cleandoc(cls.__doc__ or "").splitlines()[0]

    @property
    def arguments(self) -> dict[str, Any]:
        """The arguments that were given."""
        return self.model_dump(mode="json", exclude={"name"}, exclude_defaults=True)


class Tool(BaseTool):
    """A tool that needs no model. Sync, pure, picklable."""

    def apply(self, context: ToolContext) -> Observation:
        """Run the tool. Raises ToolError for what the model must change, BadVideo."""
        raise NotImplementedError


def find_tools(package: str) -> dict[str, type[BaseTool]]:
    """Every tool that the modules of a package define, by name.

    Imports the modules. Raises TypeError for a tool without a name or a description, and for a name used twice.
    """
    found: dict[str, type[BaseTool]] = {}
    for info in iter_modules(import_module(package).__path__, f"{package}."):
        for _, tool in getmembers(import_module(info.name), isclass):
            if not issubclass(tool, BaseTool) or tool.__module__ != info.name:
                continue
            name = tool.model_fields["name"].default
            if not isinstance(name, str) or not tool.__doc__:
                raise TypeError(f"{tool.__qualname__} in {info.name} needs a default `name` and a docstring")
            if name in found:
                raise TypeError(f"{info.name} and {found[name].__module__} both define a tool named {name!r}")
            found[name] = tool
    return found


@dataclass(frozen=True, slots=True)
class ClampedRange:
    """A range within the video, and codes for what had to be changed."""

    span: Span
    warnings: tuple[str, ...] = ()


def clamp_range(context: ToolContext, start: float | None, end: float | None) -> ClampedRange:
    """The nearest range within the video; without ends, all of it.

    Reversed ends are swapped, frame numbers taken for seconds are converted by presentation time, what reaches beyond
    is clamped, what is shorter than the limit is widened. Raises ToolError for a range that starts after the end.
    """
    whole, warnings = context.span, []
    first, last = whole.start if start is None else start, whole.end if end is None else end
    if last < first:
        first, last = last, first
        warnings.append("swapped")
    if _are_frame_numbers(context, first, last):
        first, last = context.video.time_of(int(first)), context.video.time_of(int(last))
        warnings.append("frame_numbers_converted")
    if first >= whole.end:
        raise ToolError(
            "out_of_range",
            f"{format_seconds(first)} is past the end, {format_seconds(whole.end)}.",
            f"Seconds go from {format_seconds(whole.start)} to {format_seconds(whole.end)}.",
        )
    clamped = Span(whole.clamp(first), max(whole.clamp(last), whole.clamp(first) + 1e-6))
    if (first, last) != (clamped.start, clamped.end) and last != first:
        warnings.append("clamped")
    span = widen(clamped, context.limits.min_seconds, whole)
    if span != clamped:
        warnings.append("widened")
    return ClampedRange(span, tuple(warnings))


def _are_frame_numbers(context: ToolContext, first: float, last: float) -> bool:
    """Whether these are frame numbers: whole, beyond the video's seconds, within its frames."""
    whole = first == int(first) and last == int(last)
    return whole and context.span.end * 1.05 < last <= context.video.count - 1 and first >= 0
