"""Gather by single frames: caption a few, then those that the model says are missing."""

from __future__ import annotations

from itertools import pairwise
from typing import Literal

from pydantic import Field

from agents.core.run import Run
from agents.evidence.base import Findings, Gatherer, GatheringSession
from agents.model_tools.caption import Caption
from agents.parsing.structured import StructuredOutput
from agents.prompts import agentic
from tools.context import ViewLimits
from tools.video.sampling import Span

_ONE = ViewLimits(frames=1, min_seconds=0.01)
_LEAST = 2.0  # seconds; shorter gaps are not searched


class MissingFrame(StructuredOutput):
    """A frame that is missing: in which gap, and what it should show."""

    segment: int
    description: str


class MissingFrames(StructuredOutput):
    """Frames that are missing."""

    frames: tuple[MissingFrame, ...] = Field(min_length=1)


class Pick(Gatherer):
    """Caption frames spread over the video, then those that are missing in its gaps (VideoAgent, arXiv:2403.10517).

    The paper retrieves a frame by its similarity to a description; here the index is searched, and without a hit the
    middle of the gap is taken.
    """

    by: Literal["pick"] = "pick"
    first: int = Field(5, ge=2, le=64, description="Frames captioned at first.")
    most: int = Field(5, ge=1, le=16, description="Most frames added in one round.")

    def session(self, run: Run, findings: Findings) -> GatheringSession:
        return _Picking(self, run, findings)


class _Picking(GatheringSession):
    def __init__(self, how: Pick, run: Run, findings: Findings) -> None:
        super().__init__(run, findings)
        self._how = how
        self._seen: list[float] = []

    async def begin(self) -> None:
        await self._describe(spread_seconds(self.run.span, self._how.first))

    async def more(self, missing: str) -> None:
        gaps = [Span(a, b) for a, b in pairwise(self._seen) if b - a > 1e-3]
        text = agentic.choose_frames(self.run.question_text, gaps, self.findings.known, missing)
        choice = await self.run.ask_structured(MissingFrames, text, purpose="choose")
        longest = max(range(len(gaps)), key=lambda number: gaps[number].length)
        wanted = choice.frames if choice else (MissingFrame(segment=longest + 1, description=""),)
        inside = [each for each in wanted if 1 <= each.segment <= len(gaps)][: self._how.most]
        await self._describe([await self._fetch(gaps[each.segment - 1], each.description) for each in inside])

    async def _fetch(self, gap: Span, description: str) -> float:
        hits = await self.run.captions.search(description, 1, span=gap) if description and gap.length > _LEAST else ()
        middle = (gap.start + gap.end) / 2
        if not hits:
            return middle
        start, end = max(hits[0].start, gap.start), min(hits[0].end, gap.end)
        return (start + end) / 2 if start < end else middle

    async def _describe(self, seconds: list[float]) -> None:
        new = sorted({round(second, 2) for second in seconds} - set(self._seen))
        scene, look = self.run.tool_context(_ONE), agentic.FRAME_CAPTION
        tools = [Caption(start=second, end=second, instruction=look) for second in new]
        for result in await self.run.gather(self.run.call_tool(tool, scene) for tool in tools):
            self.findings.add(result)
        self._seen = sorted({*self._seen, *new})


def spread_seconds(span: Span, count: int) -> list[float]:
    """Times in seconds of `count` evenly spread frames at one frame a second, first and last included, rounded down."""
    last = max(1, int(span.length))
    return [span.start + int(1 + (last - 1) * i / (count - 1)) - 1 for i in range(count)]
