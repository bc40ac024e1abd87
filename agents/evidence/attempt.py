"""Try to answer from the evidence gathered so far, and judge whether it is enough."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pydantic import Field

from agents.core.model_client import compose_prompt
from agents.core.run import Run
from agents.engines.base import Reply
from agents.evidence.base import Findings
from agents.parsing.answers import Sample
from agents.parsing.structured import StructuredOutput
from agents.prompts import agentic

SufficiencyTest = Literal["probability", "reflection", "grade"]

_TOP_GRADE = 3  # the highest grade of VideoAgent, arXiv:2403.10517


@dataclass(frozen=True, slots=True)
class Attempt:
    """An answer, if there is one, whether it is good enough, and otherwise what is missing, in words."""

    answer: Sample | None = None
    enough: bool = False
    missing: str = ""


class Reflection(StructuredOutput):
    """Whether the evidence is enough, and the answer or what is missing."""

    sufficient: bool
    confidence: float = Field(ge=0, le=1)
    answer: str
    missing: str


class ReasonedAnswer(StructuredOutput):
    """An answer with its reasons."""

    reasoning: str
    answer: str


class Grade(StructuredOutput):
    """How well an answer is supported: 1 too little, 2 in part, 3 enough."""

    confidence: Literal[1, 2, 3]


async def attempt_answer(run: Run, findings: Findings, gate: SufficiencyTest, threshold: float) -> Attempt:
    """Answer from the evidence; without any, return an empty attempt and do not ask the model.

    `threshold`: probability or confidence from 0 to 1; `grade` ignores it. Raises BudgetExceeded, EngineError.
    """
    if not findings.facts:
        return Attempt()
    how = {"probability": _probable, "reflection": _reflected, "grade": _graded}[gate]
    return await how(run, findings, threshold)


async def force_answer(run: Run, findings: Findings) -> Sample:
    """Answer from all evidence, enough or not. Raises BudgetExceeded, EngineError."""
    text = f"{agentic.weigh_evidence(run.question_text, findings.known)}\n{run.instruction}"
    return await run.choose_after(compose_prompt((), text, run.opening))


async def _probable(run: Run, findings: Findings, threshold: float) -> Attempt:
    said = await force_answer(run, findings)
    sure = said.confidence is not None and said.confidence >= threshold
    ranked = sorted(said.probabilities or {}, key=lambda each: -(said.probabilities or {})[each])[:2]
    doubt = f"It is open whether it is {' or '.join(run.display(each) for each in ranked)}." if len(ranked) > 1 else ""
    return Attempt(said, sure, doubt)


async def _reflected(run: Run, findings: Findings, threshold: float) -> Attempt:
    seen = await run.ask_structured(Reflection, agentic.reflect(run.question_text, findings.known), purpose="reflect")
    if seen is None:
        return Attempt()
    said = run.parse(Reply(f"Answer: {seen.answer}"))
    enough = seen.sufficient and seen.confidence >= threshold and said.value is not None
    return Attempt(said, enough, seen.missing)


async def _graded(run: Run, findings: Findings, _: float) -> Attempt:
    given = await run.ask_structured(
        ReasonedAnswer, agentic.weigh_evidence(run.question_text, findings.known), purpose="attempt"
    )
    if given is None:
        return Attempt()
    said = run.parse(Reply(f"Answer: {given.answer}"))
    grade = await run.ask_structured(
        Grade, agentic.grade(run.question_text, findings.known, given.reasoning, given.answer), purpose="grade"
    )
    return Attempt(said, grade is not None and grade.confidence == _TOP_GRADE and said.value is not None)
