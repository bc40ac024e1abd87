"""What happens in the whole video."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

from pydantic import Field

from agents.core.run import ModelTool, Run
from agents.engines.base import Sampling
from agents.parsing.structured import StructuredOutput
from agents.prompts import agentic
from tools.base import AppliedArguments, Fact, Observation
from tools.builtin.search import evenly_spaced
from tools.context import ToolContext
from tools.index.entries import IndexEntry
from tools.video.sampling import Seconds, spread

_MOST = 300  # lines that one overview reads; DeepVideoDiscovery's
_LISTED = 32  # lines that an overview without a query lists
_MAX_TOKENS = 512


class OverviewEvent(StructuredOutput):
    """Something that happens."""

    start: Seconds
    end: Seconds
    text: str


class OverviewReply(StructuredOutput):
    """What happens in a video, and who or what takes part."""

    summary: str
    subjects: list[str]
    events: list[OverviewEvent]


class Overview(ModelTool):
    """Tell what happens in the whole video, and above all what has to do with `query`, if there is one."""

    essential: ClassVar[tuple[str, ...]] = ("query",)
    name: Literal["overview"] = "overview"
    query: str | None = Field(None, description="What you are looking for.")

    async def apply(self, run: Run, context: ToolContext) -> Observation:
        lines = await self._lines(run, context)
        facts = [Fact(start=e.start, end=e.end, text=e.text, origin=e.source) for e in lines]
        if facts and self.query is None:
            return Observation(summary=_known(context, len(facts)), data=tuple(facts))
        pictures = () if facts else await run.look(spread((context.span,), context.limits.frames))
        text = agentic.overview(self.query, facts)
        if "schema" in run.capabilities:
            told = await run.ask_structured(OverviewReply, text, pictures, purpose="overview", max_tokens=_MAX_TOKENS)
        else:
            words = (await run.ask_freely(pictures, text, Sampling(max_tokens=_MAX_TOKENS), "overview")).text.strip()
            told = OverviewReply(summary=words, subjects=[], events=[]) if words else None
        data = _data(told, context) if told is not None else tuple(even_facts(facts, _LISTED))
        said = () if told is not None else ("no_summary_lines_instead",)
        applied = AppliedArguments(frames=len(pictures))
        return Observation(summary=_known(context, len(facts)), data=data, applied=applied, warnings=said)

    async def _lines(self, run: Run, context: ToolContext) -> Sequence[IndexEntry]:
        """What is known that fits the query, in order of time; without one, the longest clips' captions, and speech."""
        if self.query is not None:
            hits = await run.captions.search(self.query, _MOST, span=context.span)
            return sorted(hits, key=lambda line: (line.start, line.end))
        known = await run.captions.lines(context.span)
        levels = sorted({line.level for line in known if line.source == "caption"})
        best = [line for line in known if line.level == (levels[-1] if levels else 0)]
        return evenly_spaced(best or known, _LISTED)


def even_facts(facts: Sequence[Fact], count: int) -> Sequence[Fact]:
    """`count` facts evenly over all of them."""
    return facts[:: max(1, -(-len(facts) // count))]


def _known(context: ToolContext, lines: int) -> str:
    """What is known of the video, in our words."""
    part = context.index.coverage(context.level, context.span)
    spoken = len(context.index.subtitles(context.span))
    return f"{lines} lines read; captions cover {part:.0%} of the video; {spoken} subtitles"


def _data(told: OverviewReply, context: ToolContext) -> tuple[Fact, ...]:
    whole = context.span
    subjects = [Fact(start=whole.start, end=whole.end, text=f"takes part: {each}") for each in told.subjects]
    inside = [each for each in told.events if each.start < whole.end]
    events = [Fact(start=whole.clamp(e.start), end=whole.clamp(max(e.start, e.end)), text=e.text) for e in inside]
    return (Fact(start=whole.start, end=whole.end, text=told.summary), *subjects, *events)
