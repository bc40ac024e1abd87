"""Gather by planned looks: plan one, carry it out, write down what was seen and when."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from agents.core.run import Run
from agents.evidence.base import Findings, Gatherer, GatheringSession
from agents.model_tools.ask import Ask, ask_about
from agents.parsing.structured import StructuredOutput
from agents.prompts import agentic
from tools.base import Fact, Observation
from tools.context import ToolContext, ViewLimits
from tools.video.sampling import Seconds, Span

_WHOLE = 0.9  # regions that cover this share of the video count as all of it
_SLOWEST, _FASTEST = 0.1, 5.0  # frames a second that a plan may ask for
_DETAIL = {"low": 0.5, "medium": 1.0}


class LookRegion(StructuredOutput):
    """Seconds to look at."""

    start: Seconds
    end: Seconds


class LookStep(StructuredOutput):
    """One look."""

    query: str
    mode: Literal["uniform", "region"]
    fps: float
    detail: Literal["low", "medium"]
    regions: tuple[LookRegion, ...] = ()


class LookPlan(StructuredOutput):
    """A plan. Of several steps only the first counts: the others would not know what it brings."""

    reasoning: str = ""
    steps: tuple[LookStep, ...] = Field(min_length=1)


class InformedAsk(Ask):
    """A question to someone who knows what has been found so far."""

    known: tuple[Fact, ...] = Field((), exclude=True)

    async def apply(self, run: Run, scene: ToolContext) -> Observation:
        return await ask_about(self, run, scene, self.known)


class Observe(Gatherer):
    """Plan where, how densely and how large to look; then look, with the question (AVP, arXiv:2512.05774)."""

    by: Literal["observe"] = "observe"
    low: int = Field(512, ge=1, le=2048, description="Most frames of a look in low detail.")
    medium: int = Field(128, ge=1, le=2048, description="Most frames of a look in medium detail.")

    def session(self, run: Run, findings: Findings) -> GatheringSession:
        return _Observing(self, run, findings)


class _Observing(GatheringSession):
    def __init__(self, how: Observe, run: Run, findings: Findings) -> None:
        super().__init__(run, findings)
        self._how = how

    async def more(self, missing: str) -> None:
        run, known = self.run, self.findings.known
        text = agentic.plan_look(run.question_text, run.span, known, missing)
        plan = await run.ask_structured(LookPlan, text, purpose="plan")
        step = plan.steps[0] if plan else LookStep(query="", mode="uniform", fps=0.5, detail="low")
        ranges = _ranges(step, run.span)
        most = self._how.low if step.detail == "low" else self._how.medium
        limits = ViewLimits(frames=most, fps=min(max(step.fps, _SLOWEST), _FASTEST))
        question = run.question_text if not step.query else f"{run.question_text}\n{step.query}"
        tool = InformedAsk(ranges=ranges, question=question, detail=_DETAIL[step.detail], known=known)
        self.findings.add(await run.call_tool(tool, run.tool_context(limits)))


def _ranges(step: LookStep, whole: Span) -> tuple[tuple[float, float], ...]:
    regions = tuple((each.start, each.end) for each in step.regions if each.start < whole.end)
    covered = sum(max(0.0, whole.clamp(end) - whole.clamp(start)) for start, end in regions)
    if step.mode == "uniform" or not regions or covered >= _WHOLE * whole.length:
        return ((whole.start, whole.end),)
    return regions
