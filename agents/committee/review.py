"""Review stages: draft an answer, look up what is missing, evaluate, revise. ReAgent-V, arXiv:2506.01300."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import Field

from agents.committee.base import CommitteeStage, CommitteeState, Opinion
from agents.core.model_client import compose_prompt
from agents.core.run import Run
from agents.engines.base import Reply
from agents.parsing.answers import Sample
from agents.parsing.structured import StructuredOutput
from agents.prompts import agentic, committee
from tools.base import BaseTool, Fact
from tools.builtin.ocr import Ocr
from tools.builtin.search import SearchClips, SearchSubtitles
from tools.video.sampling import uniform

Helper = Literal["captions", "subtitles", "ocr"]
Stance = Literal["conservative", "neutral", "aggressive"]


class HelperRequest(StructuredOutput):
    """What to look up, and where."""

    helpers: tuple[Helper, ...]
    query: str


class OpenQuestions(StructuredOutput):
    """What has to be known and is not."""

    questions: tuple[str, ...]


class AnswerScores(StructuredOutput):
    """How good an answer is, from 0 to 5 in five respects, and altogether from 0 to 1."""

    visual: float
    temporal: float
    options: float
    reasoning: float
    language: float
    reward: float


class Revision(StructuredOutput):
    """An answer from one stance."""

    answer: str
    confidence: float = Field(ge=0, le=1)
    reasoning: str


class Consult(CommitteeStage):
    """Let the model choose helpers and a query; keep the facts they find that score well enough."""

    do: Literal["consult"] = "consult"
    threshold: float = Field(0.3, ge=0, le=1, description="Least score of what is kept.")

    async def run(self, state: CommitteeState) -> None:
        run = state.run
        request = await run.ask_structured(HelperRequest, committee.consult(run.question_text), purpose="consult")
        if request is not None:
            query = request.query if request.query.strip() else run.question.text
            await look_up(state, request.helpers, query, self.threshold)


class Draft(CommitteeStage):
    """Answer from frames and the findings so far."""

    do: Literal["draft"] = "draft"
    frames: int = Field(32, ge=1, le=1024, description="Frames spread evenly.")

    async def run(self, state: CommitteeState) -> None:
        run = state.run
        pictures = await run.look(uniform(run.span, self.frames))
        text = f"{agentic.weigh_evidence(run.question_text, state.findings.known)}\n{run.instruction}"
        state.answer = await run.choose_after(compose_prompt(pictures, text, run.opening))
        state.opinions.append(Opinion("draft", state.answer, state.answer.display))


class Critic(CommitteeStage):
    """Ask which questions are still open, and look them up."""

    do: Literal["critic"] = "critic"
    most: int = Field(3, ge=1, le=8, description="Most questions.")
    threshold: float = Field(0.3, ge=0, le=1, description="Least score of what is kept.")

    async def run(self, state: CommitteeState) -> None:
        run = state.run
        text = committee.criticise(run.question_text, _drafted(state), state.findings.known)
        asked = await run.ask_structured(OpenQuestions, text, purpose="critic")
        for question in [each for each in asked.questions if each.strip()][: self.most] if asked else ():
            await look_up(state, ("captions", "subtitles"), question, self.threshold)


class Evaluate(CommitteeStage):
    """Score the answer; the scores are shown to the revisers."""

    do: Literal["evaluate"] = "evaluate"

    async def run(self, state: CommitteeState) -> None:
        run = state.run
        scores = await run.ask_structured(
            AnswerScores,
            committee.evaluate(run.question_text, _drafted(state), state.findings.known),
            purpose="evaluate",
        )
        if scores is not None:
            marks = scores.model_dump()
            run.note("marks of the draft", **marks)
            state.marks = ", ".join(f"{name} {value:g}" for name, value in marks.items())


class Revise(CommitteeStage):
    """Revise the draft from three stances; fuse them if all are confident enough, else take the most confident."""

    do: Literal["revise"] = "revise"
    conservative: float = Field(0.6, ge=0, le=1, description="Confidence that the conservative stance must reach.")
    neutral: float = Field(0.7, ge=0, le=1, description="Confidence that the neutral stance must reach.")
    aggressive: float = Field(0.8, ge=0, le=1, description="Confidence that the aggressive stance must reach.")

    async def run(self, state: CommitteeState) -> None:
        run = state.run
        stances: tuple[Stance, ...] = ("conservative", "neutral", "aggressive")
        found = await run.gather(self._revise(state, stance) for stance in stances)
        said = [each for each in found if each is not None]
        if not said:
            return
        state.opinions += said
        levels = (self.conservative, self.neutral, self.aggressive)
        reached = (each is not None and each.confidence >= level for each, level in zip(found, levels, strict=True))
        if all(reached):
            state.answer = await _fused(run, said, state.findings.known)
        else:
            state.answer = max(said, key=lambda each: each.confidence).said

    async def _revise(self, state: CommitteeState, stance: Stance) -> Opinion | None:
        run = state.run
        text = committee.revise(run.question_text, stance, _drafted(state), state.marks, state.findings.known)
        told = await run.ask_structured(Revision, text, purpose=stance)
        if told is None:
            return None
        said = run.parse(Reply(f"Answer: {told.answer}"))
        return None if said.value is None else Opinion(stance, said, told.reasoning, told.confidence)


async def look_up(state: CommitteeState, helpers: Sequence[Helper], query: str, threshold: float) -> None:
    """Query helpers and add the facts that score at least `threshold`."""
    run, whole = state.run, state.run.span
    tools: list[BaseTool] = []
    for helper in dict.fromkeys(helpers):
        if helper == "ocr":
            tools.append(Ocr(start=whole.start, end=whole.end))
        else:
            tools.append(SearchClips(query=query) if helper == "captions" else SearchSubtitles(query=query))
    for tool in tools:
        result = await run.call_tool(tool, run.tool_context())
        kept = tuple(fact for fact in result.observation.data if (fact.score or 0.0) >= threshold)
        state.findings.add(result.keeping(kept))


async def _fused(run: Run, said: Sequence[Opinion], known: Sequence[Fact]) -> Sample:
    text = committee.opinions(run.question_text, [(each.by, each.reasons) for each in said], known)
    return await run.choose_after(compose_prompt((), f"{text}\n{run.instruction}", run.opening))


def _drafted(state: CommitteeState) -> str:
    return state.answer.display if state.answer else "none"
