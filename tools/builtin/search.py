"""Find the seconds of a video by words: in its captions and in what is said."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

from pydantic import Field

from tools.base import AppliedArguments, Fact, Observation, Tool, ToolError, clamp_range, counted
from tools.context import ToolContext
from tools.index.embedder import EmbedderUnavailable
from tools.index.entries import EntrySource, Hit, IndexEntry
from tools.index.index import Index
from tools.video.sampling import Seconds, Span

_LINES = 30
"""Subtitles found where a call names no number: VideoDeepResearch's."""
_NEAREST = 3
_SPOKEN: tuple[EntrySource, ...] = ("subtitle",)


class SearchClips(Tool):
    """Find clips of the video whose captions or subtitles fit a query of a few words."""

    essential: ClassVar[tuple[str, ...]] = ("query",)
    name: Literal["search_clips"] = "search_clips"
    query: str = Field(min_length=1, description="What is seen or said there, in a few words.")
    top_k: int | None = Field(None, ge=1, le=300, description="Most clips to find.")
    start: Seconds | None = Field(None, description="Search from this second on.")
    end: Seconds | None = Field(None, description="Search up to this second.")
    level: float | None = Field(None, gt=0, description="Length of the clips, in seconds.")

    def apply(self, context: ToolContext) -> Observation:
        if not context.indexed:
            raise ToolError("no_index", "Nothing is known of this video in words.", "Look at it with another tool.")
        place = clamp_range(context, self.start, self.end)
        hits, warnings = self._ladder(context, place.span)
        kept = _above_score(hits, context.limits.min_relative_score)
        spoken = _spoken_during(context, kept) if context.limits.include_speech else ()
        return entries_observation(context, [*kept, *spoken], (*place.warnings, *warnings, *_coverage(context)))

    def _ladder(self, context: ToolContext, span: Span) -> tuple[Sequence[IndexEntry], tuple[str, ...]]:
        """What fits well in the range; else anywhere in time; else at any length; else what fits weakly."""
        k, index = self.top_k or context.limits.hits, context.index
        level = self.level if self.level in {line.level for line in index.lines(context.span)} else None
        warnings: tuple[str, ...] = () if self.level == level else ("no_such_level",)
        rungs = [(span, level, warnings), (context.span, level, (*warnings, "nothing_in_range"))]
        rungs += [(context.span, None, (*warnings, "nothing_at_level"))] if level is not None else []
        return first_good_hits(
            [_search_index(index, self.query, k, codes, span=s, level=x) for s, x, codes in rungs], context, k
        )


class SearchSubtitles(Tool):
    """Find what is said in the video by a query of a few words."""

    essential: ClassVar[tuple[str, ...]] = ("query",)
    name: Literal["search_subtitles"] = "search_subtitles"
    query: str = Field(min_length=1, description="What is said, in a few words.")
    top_k: int | None = Field(None, ge=1, le=300, description="Most lines to find.")
    start: Seconds | None = Field(None, description="Search from this second on.")
    end: Seconds | None = Field(None, description="Search up to this second.")

    def apply(self, context: ToolContext) -> Observation:
        place, k = clamp_range(context, self.start, self.end), self.top_k or _LINES
        _require_subtitles(context)
        rungs = [(place.span, ()), (context.span, ("nothing_in_range",))]
        searched = [
            _search_index(context.index, self.query, k, codes, span=span, sources=_SPOKEN) for span, codes in rungs
        ]
        hits, warnings = first_good_hits(searched, context, k, sources=_SPOKEN)
        return entries_observation(context, hits, (*place.warnings, *warnings))


class ReadSubtitles(Tool):
    """Read what is said in the video from `start` to `end`, in seconds."""

    essential: ClassVar[tuple[str, ...]] = ("start", "end")
    name: Literal["read_subtitles"] = "read_subtitles"
    start: Seconds = Field(description="First second.")
    end: Seconds = Field(description="Last second.")

    def apply(self, context: ToolContext) -> Observation:
        place = clamp_range(context, self.start, self.end)
        _require_subtitles(context)
        warnings = place.warnings
        if not (lines := context.index.subtitles(place.span)):
            near = sorted(context.index.subtitles(context.span), key=lambda line: _distance(line, place.span))
            lines, warnings = tuple(near[:_NEAREST]), (*warnings, "nobody_speaks_nearest_lines_instead")
        return entries_observation(context, lines, warnings)


def entries_observation(context: ToolContext, lines: Sequence[IndexEntry], warnings: tuple[str, ...]) -> Observation:
    """Lines in order of time as an observation; weak hits are named as such."""
    kept = sorted(lines, key=lambda line: (line.start, line.end))[: context.limits.max_facts]
    facts = tuple(_fact(line) for line in kept)
    weak = [each for each in facts if each.score is not None and each.score < context.limits.weak_score]
    if weak:
        warnings = (*warnings, "all_hits_weak" if len(weak) == len(facts) else "some_hits_weak")
    if len(kept) < len(lines):
        warnings = (*warnings, "cut")
    ranges = tuple((each.start, each.end) for each in facts)
    return Observation(
        summary=counted(len(facts), "line"), data=facts, applied=AppliedArguments(ranges=ranges), warnings=warnings
    )


def _search_index(
    index: Index,
    query: str,
    k: int,
    codes: tuple[str, ...],
    *,
    span: Span,
    level: float | None = None,
    sources: tuple[EntrySource, ...] = (),
) -> tuple[Sequence[Hit], tuple[str, ...]]:
    """What fits a query, and what to say of the search; by words alone while the embedder is down."""
    try:
        return index.search(query, k, span=span, level=level, sources=sources), codes
    except EmbedderUnavailable:
        by_words = index.search(query, k, span=span, level=level, sources=sources, by="words")
        return by_words, (*codes, "searched_by_words_alone")


def first_good_hits(
    rungs: Sequence[tuple[Sequence[Hit], tuple[str, ...]]],
    context: ToolContext,
    k: int,
    sources: tuple[EntrySource, ...] = (),
) -> tuple[Sequence[IndexEntry], tuple[str, ...]]:
    """The first rung with a hit that fits well, else the first with any, else an even overview; and what to say."""
    for hits, warnings in rungs:
        if any(hit.score >= context.limits.weak_score for hit in hits):
            return hits, warnings
    for hits, warnings in rungs:
        if hits:
            return hits, warnings
    overview = evenly_spaced(context.index.lines(context.span, sources=sources), k)
    return overview, ("nothing_found_overview_instead",)


def evenly_spaced(lines: Sequence[IndexEntry], count: int) -> Sequence[IndexEntry]:
    """`count` lines evenly over all of them."""
    if len(lines) <= count:
        return lines
    return [lines[(2 * i + 1) * len(lines) // (2 * count)] for i in range(count)]


def _above_score(lines: Sequence[IndexEntry], part: float) -> Sequence[IndexEntry]:
    """The lines whose score is at least a part of the best one: the others share a stray word with the query."""
    least = part * max((line.score for line in lines if isinstance(line, Hit)), default=0.0)
    return [line for line in lines if not isinstance(line, Hit) or line.score >= least]


def _spoken_during(context: ToolContext, found: Sequence[IndexEntry]) -> Sequence[IndexEntry]:
    """What is said within the seconds of some lines and is not among them."""
    known = {line.id for line in found}
    spoken = {line.id: line for hit in found for line in context.index.subtitles(Span(hit.start, hit.end))}
    return [line for line in spoken.values() if line.id not in known]


def _fact(line: IndexEntry) -> Fact:
    score = round(line.score, 2) if isinstance(line, Hit) else None
    return Fact(start=line.start, end=line.end, text=line.text, origin=line.source, score=score)


def _coverage(context: ToolContext) -> tuple[str, ...]:
    """How much of the video has captions at all, if not all of it."""
    part = context.index.coverage(context.level, context.span)
    return () if part >= 1 else (f"captions_cover_{part:.0%}",)


def _require_subtitles(context: ToolContext) -> None:
    if not context.index.subtitles(context.span):
        raise ToolError("no_subtitles", "This video has no subtitles.", "Look at it, or search its captions.")


def _distance(line: IndexEntry, span: Span) -> float:
    return max(line.start - span.end, span.start - line.end, 0.0)
