"""Answer, ask what is missing, review, and revise from three stances."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import Field

from agents import briefing as common
from agents.conversation import compose
from agents.engine import Reply
from agents.run import Run
from agents.sample import Sample
from agents.slots import Slots
from agents.stages import briefing
from agents.stages.stage import Opinion, Stage, Table
from tools.moment import centres
from tools.ocr import Ocr
from tools.search import SearchClips, SearchSubtitles
from tools.tool import AnyTool, Fact

Helper = Literal["captions", "subtitles", "ocr"]
Stance = Literal["conservative", "neutral", "aggressive"]


class Request(Slots):
    """What to look up, and where."""

    helpers: tuple[Helper, ...]
    query: str


class Questions(Slots):
    """What has to be known and is not."""

    questions: tuple[str, ...]


class Scores(Slots):
    """How good an answer is, from 0 to 5 in five respects, and altogether from 0 to 1."""

    visual: float
    temporal: float
    options: float
    reasoning: float
    language: float
    reward: float


class Revised(Slots):
    """An answer from one stance."""

    answer: str
    confidence: float = Field(ge=0, le=1)
    reasoning: str


class Consult(Stage):
    """Let the model choose helpers and what to ask them; keep what they find that fits well enough."""

    do: Literal["consult"] = "consult"
    threshold: float = Field(0.3, ge=0, le=1, description="Least score of what is kept.")

    async def sit(self, table: Table) -> None:
        run = table.run
        request = await run.fill(Request, briefing.consult(run.asked), purpose="consult")
        if request is not None:
            query = request.query if request.query.strip() else run.question.text
            await look_up(table, request.helpers, query, self.threshold)


class Draft(Stage):
    """Answer from frames and from what was found."""

    do: Literal["draft"] = "draft"
    frames: int = Field(32, ge=1, le=1024, description="Frames spread evenly.")

    async def sit(self, table: Table) -> None:
        run = table.run
        pictures = await run.look(centres(run.span, self.frames))
        text = f"{common.weigh_evidence(run.asked, table.findings.known)}\n{run.instruction}"
        table.answer = await run.conclude(compose(pictures, text, run.opening))
        table.opinions.append(Opinion("draft", table.answer, table.answer.words))


class Critic(Stage):
    """Ask what has to be known and is not; look that up."""

    do: Literal["critic"] = "critic"
    most: int = Field(3, ge=1, le=8, description="Most questions.")
    threshold: float = Field(0.3, ge=0, le=1, description="Least score of what is kept.")

    async def sit(self, table: Table) -> None:
        run = table.run
        text = briefing.criticise(run.asked, _drafted(table), table.findings.known)
        asked = await run.fill(Questions, text, purpose="critic")
        for question in [each for each in asked.questions if each.strip()][: self.most] if asked else ():
            await look_up(table, ("captions", "subtitles"), question, self.threshold)


class Evaluate(Stage):
    """Give the answer marks, with reasons: what revisers read."""

    do: Literal["evaluate"] = "evaluate"

    async def sit(self, table: Table) -> None:
        run = table.run
        scores = await run.fill(
            Scores, briefing.evaluate(run.asked, _drafted(table), table.findings.known), purpose="evaluate"
        )
        if scores is not None:
            marks = scores.model_dump()
            run.note("marks of the draft", **marks)
            table.marks = ", ".join(f"{name} {value:g}" for name, value in marks.items())


class Revise(Stage):
    """Revise the draft from three stances; if all are sure enough, fuse them, else the surest wins."""

    do: Literal["revise"] = "revise"
    conservative: float = Field(0.6, ge=0, le=1, description="Confidence that the conservative stance must reach.")
    neutral: float = Field(0.7, ge=0, le=1, description="Confidence that the neutral stance must reach.")
    aggressive: float = Field(0.8, ge=0, le=1, description="Confidence that the aggressive stance must reach.")

    async def sit(self, table: Table) -> None:
        run = table.run
        stances: tuple[Stance, ...] = ("conservative", "neutral", "aggressive")
        found = await run.together(self._revise(table, stance) for stance in stances)
        said = [each for each in found if each is not None]
        if not said:
            return
        table.opinions += said
        levels = (self.conservative, self.neutral, self.aggressive)
        reached = (each is not None and each.confidence >= level for each, level in zip(found, levels, strict=True))
        if all(reached):
            table.answer = await _fused(run, said, table.findings.known)
        else:
            table.answer = max(said, key=lambda each: each.confidence).said

    async def _revise(self, table: Table, stance: Stance) -> Opinion | None:
        run = table.run
        text = briefing.revise(run.asked, stance, _drafted(table), table.marks, table.findings.known)
        told = await run.fill(Revised, text, purpose=stance)
        if told is None:
            return None
        said = run.read(Reply(f"Answer: {told.answer}"))
        return None if said.value is None else Opinion(stance, said, told.reasoning, told.confidence)


async def look_up(table: Table, helpers: Sequence[Helper], query: str, threshold: float) -> None:
    """Ask helpers, and keep what fits well enough."""
    run, whole = table.run, table.run.span
    tools: list[AnyTool] = []
    for helper in dict.fromkeys(helpers):
        if helper == "ocr":
            tools.append(Ocr(start=whole.start, end=whole.end))
        else:
            tools.append(SearchClips(query=query) if helper == "captions" else SearchSubtitles(query=query))
    for tool in tools:
        result = await run.use(tool, run.scene())
        kept = tuple(fact for fact in result.observation.data if (fact.score or 0.0) >= threshold)
        table.findings.add(result.keeping(kept))


async def _fused(run: Run, said: Sequence[Opinion], known: Sequence[Fact]) -> Sample:
    text = briefing.opinions(run.asked, [(each.by, each.reasons) for each in said], known)
    return await run.conclude(compose((), f"{text}\n{run.instruction}", run.opening))


def _drafted(table: Table) -> str:
    return table.answer.words if table.answer else "none"
