"""Gather by captions: coarse ones of the whole video, then finer ones of the periods that matter."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

from pydantic import Field

from agents.core.run import Run
from agents.core.tools import ToolResult
from agents.evidence.base import Findings, Gatherer, GatheringSession
from agents.model_tools.caption import Caption
from agents.parsing.structured import StructuredOutput
from agents.prompts import agentic
from tools.base import Fact
from tools.context import ViewLimits
from tools.video.sampling import Seconds, Span, temporal_iou

_ORDINAL = re.compile(
    r"\b(?:first|second|third|fourth|fifth|sixth|seventh|eighth|ninth|tenth|last|\d+(?:st|nd|rd|th))\b"
)
_SAME = 0.9  # temporal IoU above which two periods are the same
_PIECES = 12  # most pieces that one period is cut into


class FocusPeriod(StructuredOutput):
    """A period, and what to pay attention to in it."""

    start: Seconds
    end: Seconds
    instruction: str


class ScopePeriod(StructuredOutput):
    """A period."""

    start: Seconds
    end: Seconds


class QuestionScope(StructuredOutput):
    """Whether a question is about a part of the video alone, and which."""

    local: bool
    periods: tuple[ScopePeriod, ...] = ()


class Recaption(Gatherer):
    """Caption the video coarsely, then single periods and their pieces ever finer (VideoLucy, arXiv:2510.12422)."""

    by: Literal["recaption"] = "recaption"
    coarse: float = Field(60, gt=0, le=3600, description="Length of a first period in seconds.")
    fine: float = Field(10, gt=0, le=600, description="Length in seconds of the pieces of a period.")
    finest: float = Field(1, gt=0, le=60, description="Length in seconds of the pieces of such a piece.")

    def session(self, run: Run, findings: Findings) -> GatheringSession:
        return _Recaptioning(self, run, findings)


class _Recaptioning(GatheringSession):
    def __init__(self, how: Recaption, run: Run, findings: Findings) -> None:
        super().__init__(run, findings)
        self._how = how
        self._visited: list[Span] = []
        self._judged = False

    async def begin(self) -> None:
        whole = self.run.span
        tool = Caption(start=whole.start, end=whole.end, level=self._how.coarse)
        self.findings.add(await self.run.call_tool(tool, self.run.tool_context()))
        if not self.findings.facts:
            known = await self.run.captions.lines(whole)
            self.findings.facts += [Fact(start=e.start, end=e.end, text=e.text, origin=e.source) for e in known]

    async def more(self, missing: str) -> None:
        await self._judge()
        text = agentic.choose_period(self.run.question_text, self.findings.known, self._visited, missing)
        chosen = await self.run.ask_structured(FocusPeriod, text, purpose="choose")
        period = self._fresh(chosen)
        self._visited.append(period)
        instruction = chosen.instruction if chosen and chosen.instruction.strip() else self.run.question.text
        results = await self._describe(period, instruction)
        self.findings.forget(period, finer_than=self._how.coarse)
        for result in results:
            self.findings.add(result)

    async def _judge(self) -> None:
        """Keep only facts near the part of the video that the question is about, if it is about one; asked once.

        Skipped for ordinals, since "the third time" needs the whole video.
        """
        if self._judged or _ORDINAL.search(self.run.question.text.casefold()):
            return
        self._judged = True
        place = await self.run.ask_structured(
            QuestionScope, agentic.judge_scope(self.run.question_text, self.findings.known), purpose="judge"
        )
        if place is not None and place.local and place.periods:
            near = [
                Span(max(0.0, p.start - self._how.coarse), p.end + self._how.coarse)
                for p in place.periods
                if p.start < p.end
            ]
            self.findings.keep(near)

    def _fresh(self, chosen: FocusPeriod | None) -> Span:
        whole = self.run.span
        if chosen is not None and chosen.start < chosen.end and chosen.start < whole.end:
            period = Span(whole.clamp(chosen.start), max(whole.clamp(chosen.end), whole.clamp(chosen.start) + 0.5))
            if not self._was_visited(period):
                return period
        parts = _pieces(whole, self._how.coarse)
        return next((part for part in parts if not self._was_visited(part)), parts[0])

    def _was_visited(self, period: Span) -> bool:
        return any(temporal_iou(period, each) > _SAME for each in self._visited)

    async def _describe(self, period: Span, instruction: str) -> Sequence[ToolResult]:
        short = period.length <= self._how.fine
        whole = ViewLimits(frames=20, fps=2.0) if short else ViewLimits(frames=60, fps=1.0)
        piece = ViewLimits(frames=2, fps=2.0) if short else ViewLimits(frames=20, fps=2.0)
        parts = _pieces(period, self._how.finest if short else self._how.fine)[:_PIECES]
        jobs = [(period, whole), *((part, piece) for part in parts)]
        return await self.run.gather(
            self.run.call_tool(
                Caption(start=s.start, end=s.end, instruction=instruction), self.run.tool_context(limits)
            )
            for s, limits in jobs
        )


def _pieces(span: Span, seconds: float) -> list[Span]:
    count = max(1, round(span.length / seconds))
    edges = [span.start + span.length * i / count for i in range(count)] + [span.end]
    return [Span(start, end) for start, end in pairwise(edges)]
