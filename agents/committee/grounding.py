"""Grounding stages: find spans that matter, rank them, answer from the best. VideoMind, arXiv:2503.13444."""

from __future__ import annotations

from dataclasses import replace
from math import exp
from typing import Literal

from pydantic import Field

from agents.committee.base import CommitteeStage, CommitteeState
from agents.core.model_client import compose_prompt
from agents.engines.base import Picture
from agents.model_tools.verify import extended
from agents.parsing.structured import StructuredOutput
from agents.prompts import agentic, committee
from tools.base import Fact
from tools.index.entries import IndexEntry
from tools.video.sampling import Seconds, Span, uniform, widen

_WINDOWS = 6  # equal parts of a video without a found span; a fallback window covers two of them


class GroundingDecision(StructuredOutput):
    """Whether a moment has to be found first, and how to ask for it."""

    ground: bool
    query: str


class GroundedSpan(StructuredOutput):
    """A span of seconds."""

    start: Seconds
    end: Seconds


class GroundedSpans(StructuredOutput):
    """Spans that may show something, best first."""

    spans: tuple[GroundedSpan, ...]


class Ground(CommitteeStage):
    """Decide whether a moment has to be found; if so, find candidates in the index, else by looking at the video."""

    do: Literal["ground"] = "ground"
    spans: int = Field(5, ge=1, le=16, description="Spans to find.")
    fps: float = Field(1.0, gt=0, le=30, description="Frames a second of the look.")
    frames: int = Field(150, ge=1, le=1024, description="Most frames of the look.")

    async def run(self, state: CommitteeState) -> None:
        run = state.run
        roles = await run.ask_structured(GroundingDecision, committee.roles(run.question_text), purpose="roles")
        if roles is not None and not roles.ground:
            return
        query = roles.query if roles and roles.query.strip() else run.question.text
        hits = await run.captions.search(query, self.spans, span=run.span)
        found = [Span(max(hit.start, run.span.start), hit.end) for hit in hits if hit.end > hit.start]
        state.spans = found or await self._looked(state, query) or windows(run.span)

    async def _looked(self, state: CommitteeState, query: str) -> list[Span]:
        run = state.run
        count = max(1, min(self.frames, round(run.span.length * self.fps)))
        pictures = await run.look(uniform(run.span, count))
        told = await run.ask_structured(GroundedSpans, committee.ground(query), pictures, purpose="ground")
        ends = [(run.span.clamp(each.start), run.span.clamp(each.end)) for each in told.spans] if told else []
        return [Span(start, end) for start, end in ends if start < end][: self.spans]


class Rank(CommitteeStage):
    """Ask for each span, shown with some context, whether it is the right one, and sort them by likelihood."""

    do: Literal["rank"] = "rank"
    fps: float = Field(2.0, gt=0, le=30, description="Frames a second.")
    frames: int = Field(64, ge=1, le=1024, description="Most frames of one span.")

    async def run(self, state: CommitteeState) -> None:
        run = state.run
        beliefs = await run.gather(self._believe(state, span) for span in state.spans)
        ranked = sorted(zip(beliefs, state.spans, strict=True), key=lambda pair: -pair[0])
        run.note("spans by how likely each is the one", scores=[round(belief, 4) for belief, _ in ranked])
        state.spans = [span for _, span in ranked]

    async def _believe(self, state: CommitteeState, span: Span) -> float:
        """sigmoid(P(yes) - P(no)), which lies between 0.27 and 0.73."""
        run = state.run
        shown = extended(span, run.span)
        count = max(1, min(self.frames, round(shown.length * self.fps)))
        pictures = await run.look(uniform(shown, count))
        starts, ends, below = agentic.mark_span(run.question.text)
        before = [each for each in pictures if each.time < span.start]
        inside = [each for each in pictures if span.start <= each.time < span.end]
        after = [each for each in pictures if each.time >= span.end]
        parts: tuple[str | Picture, ...] = (*before, starts, *inside, ends, *after, f"\n{below}")
        prompt = compose_prompt((), "", run.opening)
        known = await run.yes_probability_of((*prompt[:-1], replace(prompt[-1], parts=parts)))
        return 1 / (1 + exp(1 - 2 * (0.5 if known is None else known)))


class AnswerSpan(CommitteeStage):
    """Answer from the best span, shown with its subtitles; from the whole video if there is none."""

    do: Literal["answer"] = "answer"
    least: float = Field(32.0, ge=0, le=3600, description="Seconds to which a shorter span is widened.")
    fps: float = Field(2.0, gt=0, le=30, description="Frames a second.")
    frames: int = Field(32, ge=1, le=1024, description="Most frames.")
    lines: int = Field(100, ge=0, le=1000, description="Most subtitles.")

    async def run(self, state: CommitteeState) -> None:
        run = state.run
        span = widen(state.spans[0], self.least, run.span) if state.spans else run.span
        pictures = await run.look(uniform(span, max(1, min(self.frames, round(span.length * self.fps)))))
        spoken = (await run.captions.lines(span, sources=("subtitle",)))[: self.lines]
        facts = [_fact(line) for line in spoken]
        text = agentic.with_facts(facts, f"{run.question_text}\n{run.instruction}")
        state.answer = await run.choose_after(compose_prompt(pictures, text, run.opening))
        run.usage.record_facts(facts)
        state.findings.facts += facts
        state.findings.cited = (span,)


def windows(whole: Span) -> list[Span]:
    """Five overlapping windows, each a third of the video."""
    step = whole.length / _WINDOWS
    return [Span(whole.start + i * step, whole.start + (i + 2) * step) for i in range(_WINDOWS - 1)]


def _fact(line: IndexEntry) -> Fact:
    return Fact(start=line.start, end=line.end, text=line.text, origin=line.source)
