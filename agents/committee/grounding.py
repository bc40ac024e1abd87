"""Find the seconds that matter, check them one by one, answer from the best."""

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
from agents.prompts import agentic as common
from agents.prompts import committee
from tools.base import Fact
from tools.index.entries import IndexEntry
from tools.video.sampling import Seconds, Span, uniform, widen

_WINDOWS = 6  # into which a film is cut where no span was found; each window is two of them long


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
    """Say whether a moment has to be found, and find some that may be it: in the index, else by a look at the film."""

    do: Literal["ground"] = "ground"
    spans: int = Field(5, ge=1, le=16, description="Spans to find.")
    fps: float = Field(1.0, gt=0, le=30, description="Frames a second of the look.")
    frames: int = Field(150, ge=1, le=1024, description="Most frames of the look.")

    async def run(self, table: CommitteeState) -> None:
        run = table.run
        roles = await run.ask_structured(GroundingDecision, committee.roles(run.question_text), purpose="roles")
        if roles is not None and not roles.ground:
            return
        query = roles.query if roles and roles.query.strip() else run.question.text
        hits = await run.captions.search(query, self.spans, span=run.span)
        found = [Span(max(hit.start, run.span.start), hit.end) for hit in hits if hit.end > hit.start]
        table.spans = found or await self._looked(table, query) or windows(run.span)

    async def _looked(self, table: CommitteeState, query: str) -> list[Span]:
        run = table.run
        count = max(1, min(self.frames, round(run.span.length * self.fps)))
        pictures = await run.look(uniform(run.span, count))
        told = await run.ask_structured(GroundedSpans, committee.ground(query), pictures, purpose="ground")
        ends = [(run.span.clamp(each.start), run.span.clamp(each.end)) for each in told.spans] if told else []
        return [Span(start, end) for start, end in ends if start < end][: self.spans]


class Rank(CommitteeStage):
    """Ask of each span, shown with some seconds around it, whether it is the one; the likeliest comes first."""

    do: Literal["rank"] = "rank"
    fps: float = Field(2.0, gt=0, le=30, description="Frames a second.")
    frames: int = Field(64, ge=1, le=1024, description="Most frames of one span.")

    async def run(self, table: CommitteeState) -> None:
        run = table.run
        beliefs = await run.gather(self._believe(table, span) for span in table.spans)
        ranked = sorted(zip(beliefs, table.spans, strict=True), key=lambda pair: -pair[0])
        run.note("spans by how likely each is the one", scores=[round(belief, 4) for belief, _ in ranked])
        table.spans = [span for _, span in ranked]

    async def _believe(self, table: CommitteeState, span: Span) -> float:
        """sigmoid(P(yes) - P(no)), between 0.27 and 0.73."""
        run = table.run
        shown = extended(span, run.span)
        count = max(1, min(self.frames, round(shown.length * self.fps)))
        pictures = await run.look(uniform(shown, count))
        starts, ends, below = common.mark_span(run.question.text)
        before = [each for each in pictures if each.time < span.start]
        inside = [each for each in pictures if span.start <= each.time < span.end]
        after = [each for each in pictures if each.time >= span.end]
        parts: tuple[str | Picture, ...] = (*before, starts, *inside, ends, *after, f"\n{below}")
        prompt = compose_prompt((), "", run.opening)
        known = await run.yes_probability_of((*prompt[:-1], replace(prompt[-1], parts=parts)))
        return 1 / (1 + exp(1 - 2 * (0.5 if known is None else known)))


class AnswerSpan(CommitteeStage):
    """Answer from the best span, shown with what is said in it; from the whole film if no span was looked for."""

    do: Literal["answer"] = "answer"
    least: float = Field(32.0, ge=0, le=3600, description="Seconds to which a shorter span is widened.")
    fps: float = Field(2.0, gt=0, le=30, description="Frames a second.")
    frames: int = Field(32, ge=1, le=1024, description="Most frames.")
    lines: int = Field(100, ge=0, le=1000, description="Most subtitles.")

    async def run(self, table: CommitteeState) -> None:
        run = table.run
        span = widen(table.spans[0], self.least, run.span) if table.spans else run.span
        pictures = await run.look(uniform(span, max(1, min(self.frames, round(span.length * self.fps)))))
        spoken = (await run.captions.lines(span, sources=("subtitle",)))[: self.lines]
        facts = [_fact(line) for line in spoken]
        text = common.with_facts(facts, f"{run.question_text}\n{run.instruction}")
        table.answer = await run.choose_after(compose_prompt(pictures, text, run.opening))
        run.usage.record_facts(facts)
        table.findings.facts += facts
        table.findings.cited = (span,)


def windows(whole: Span) -> list[Span]:
    """Five overlapping windows, each a third of the film."""
    step = whole.length / _WINDOWS
    return [Span(whole.start + i * step, whole.start + (i + 2) * step) for i in range(_WINDOWS - 1)]


def _fact(line: IndexEntry) -> Fact:
    return Fact(start=line.start, end=line.end, text=line.text, origin=line.source)
