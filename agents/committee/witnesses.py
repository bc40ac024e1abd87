"""Witness stages: compare an answer with scenes and detections, and ask again in doubt. ViQAgent, arXiv:2505.15928."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from agents.committee.base import CommitteeStage, CommitteeState, Opinion
from agents.core.model_client import compose_prompt
from agents.engines.base import Picture
from agents.model_tools.ask import Ask
from agents.parsing.structured import StructuredOutput
from agents.prompts import committee
from tools.base import Fact
from tools.builtin.detect import Detect
from tools.video.sampling import Seconds, uniform


class WitnessedScene(StructuredOutput):
    """What is shown, and when."""

    start: Seconds
    end: Seconds
    text: str


class WitnessedScenes(StructuredOutput):
    """The scenes of a video."""

    scenes: tuple[WitnessedScene, ...]


class DetectionTargets(StructuredOutput):
    """Things to look for."""

    targets: tuple[str, ...]


class Comparison(StructuredOutput):
    """Whether what was told contradicts itself."""

    disagree: bool
    reasoning: str


class Doubt(StructuredOutput):
    """A question about some seconds."""

    start: Seconds
    end: Seconds
    question: str


class Doubts(StructuredOutput):
    """Questions that would settle it."""

    doubts: tuple[Doubt, ...]


class Testify(CommitteeStage):
    """Answer, list the scenes, and name objects, which a detector finds in the video if one is installed."""

    do: Literal["testify"] = "testify"
    frames: int = Field(32, ge=1, le=1024, description="Frames spread evenly.")
    targets: int = Field(4, ge=1, le=5, description="Most objects to look for.")

    async def run(self, state: CommitteeState) -> None:
        run = state.run
        pictures = await run.look(uniform(run.span, self.frames))
        await run.gather((self._answer(state, pictures), self._scenes(state, pictures), self._detect(state, pictures)))

    async def _answer(self, state: CommitteeState, pictures: tuple[Picture, ...]) -> None:
        run = state.run
        text = f"{run.question_text}\n{run.instruction}"
        state.answer = await run.choose_after(compose_prompt(pictures, text, run.opening))
        state.opinions.append(Opinion("answer", state.answer, state.answer.display))

    async def _scenes(self, state: CommitteeState, pictures: tuple[Picture, ...]) -> None:
        run = state.run
        told = await run.ask_structured(WitnessedScenes, committee.SCENES, pictures, purpose="scenes")
        for each in told.scenes if told else ():
            if run.span.start <= each.start < min(each.end, run.span.end):
                state.findings.facts.append(Fact(start=each.start, end=run.span.clamp(each.end), text=each.text))

    async def _detect(self, state: CommitteeState, pictures: tuple[Picture, ...]) -> None:
        run, scene = state.run, state.run.tool_context()
        told = await run.ask_structured(
            DetectionTargets, committee.targets(run.question_text), pictures, purpose="targets"
        )
        if told is None or not told.targets:
            return
        if scene.detector is None:
            run.usage.add_degradation("no detector is installed: things were not looked for by name")
            return
        state.findings.add(await run.call_tool(Detect(targets=told.targets[: self.targets]), scene))


class Compare(CommitteeStage):
    """Check whether answer, scenes and detections contradict each other; if so, ask about the doubtful spans."""

    do: Literal["compare"] = "compare"
    questions: int = Field(3, ge=1, le=8, description="Most questions about doubtful spans.")

    async def run(self, state: CommitteeState) -> None:
        run, known = state.run, state.findings.known
        drafted = state.answer.display if state.answer else "none"
        seen = await run.ask_structured(
            Comparison, committee.compare(run.question_text, drafted, known), purpose="compare"
        )
        if seen is None or not seen.disagree:
            return
        text = committee.doubts(run.question_text, drafted, seen.reasoning, known)
        told = await run.ask_structured(Doubts, text, purpose="doubts")
        asked = [d for d in told.doubts if d.question.strip()][: self.questions] if told else []
        tools = [Ask(start=each.start, end=each.end, question=each.question) for each in asked]
        for result in await run.gather(run.call_tool(tool, run.tool_context()) for tool in tools):
            state.findings.add(result)


class Conclude(CommitteeStage):
    """Answer from all opinions and findings."""

    do: Literal["conclude"] = "conclude"

    async def run(self, state: CommitteeState) -> None:
        run = state.run
        said = [(each.by, each.reasons) for each in state.opinions]
        text = f"{committee.opinions(run.question_text, said, state.findings.known)}\n{run.instruction}"
        state.answer = await run.choose_after(compose_prompt((), text, run.opening))
