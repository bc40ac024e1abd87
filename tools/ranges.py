"""Ranges of seconds as models give them, made into ranges that exist."""

from dataclasses import dataclass

from tools.moment import Moment, Span, centres
from tools.scene import Scene
from tools.seconds import write
from tools.tool import ToolError

_HALF = 0.5


@dataclass(frozen=True, slots=True)
class Settled:
    """A range that can be looked at, and codes for what had to be changed."""

    span: Span
    warnings: tuple[str, ...] = ()


def settle(scene: Scene, start: float | None, end: float | None) -> Settled:
    """The nearest range that can be looked at; without ends, all of it.

    Reversed ends are swapped, frame numbers taken for seconds are converted by presentation time, what reaches beyond
    is clamped, what is shorter than the limit is widened. Raises ToolError for a range that starts after the end.
    """
    whole, said = scene.span, []
    first, last = whole.start if start is None else start, whole.end if end is None else end
    if last < first:
        first, last = last, first
        said.append("swapped")
    if _are_frames(scene, first, last):
        first, last = scene.footage.second(int(first)), scene.footage.second(int(last))
        said.append("frame_numbers_converted")
    if first >= whole.end:
        raise ToolError(
            "out_of_range",
            f"{write(first)} is past the end, {write(whole.end)}.",
            f"Seconds go from {write(whole.start)} to {write(whole.end)}.",
        )
    clamped = Span(whole.clamp(first), max(whole.clamp(last), whole.clamp(first) + 1e-6))
    if (first, last) != (clamped.start, clamped.end) and last != first:
        said.append("clamped")
    span = widened(clamped, scene.limits.least, whole)
    if span != clamped:
        said.append("widened")
    return Settled(span, tuple(said))


def widened(span: Span, least: float, whole: Span) -> Span:
    """The span with at least so many seconds, where the whole has them, around the same middle."""
    length = min(max(least, span.length), whole.length)
    if span.length >= length:
        return span
    middle = (span.start + span.end) * _HALF
    start = min(max(middle - length * _HALF, whole.start), whole.end - length)
    return Span(max(whole.start, start), min(whole.end, max(whole.start, start) + length))


def overlap(one: Span, other: Span) -> float:
    """Seconds of both over seconds of either, in [0, 1]."""
    shared = min(one.end, other.end) - max(one.start, other.start)
    return max(0.0, shared) / (one.length + other.length - max(0.0, shared))


def spread(spans: tuple[Span, ...], count: int) -> tuple[Moment, ...]:
    """About `count` moments over several spans, each by its length, at least one in each; in order of time."""
    total = sum(span.length for span in spans)
    ordered = sorted(spans, key=lambda span: span.start)
    return tuple(m for span in ordered for m in centres(span, max(1, round(count * span.length / total))))


def _are_frames(scene: Scene, first: float, last: float) -> bool:
    """Whether these are frame numbers: whole, beyond the film's seconds, within its frames."""
    whole = first == int(first) and last == int(last)
    return whole and scene.span.end * 1.05 < last <= scene.footage.count - 1 and first >= 0
