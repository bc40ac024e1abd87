"""Builds the API response of a finished run."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

from agents.core.question import Answer
from agents.core.run import Run
from agents.core.runner import RunOutcome
from app.answers.schemas import AnswerCandidate, AnswerReport, AnswerResponse, CaptionUsage, EvidenceSpan, Timings


def new_run_id() -> str:
    """A random id for a run."""
    return f"run_{uuid4().hex}"


def build_response(
    outcome: RunOutcome,
    run: Run,
    *,
    run_id: str,
    model: str,
    strategy: dict[str, Any],
    seed: int,
    structured: dict[str, Any] | None,
    total: float,
) -> AnswerResponse:
    """Build the response: answer, evidence, confidence and report."""
    answer = outcome.answer
    return AnswerResponse(
        id=run_id,
        answer=None if answer.value is None else run.display(answer.value),
        option=answer.value if run.question.kind == "choice" else None,
        confidence=answer.confidence,
        candidates=_candidates(answer),
        evidence=[EvidenceSpan(start=each.start, end=each.end, text=each.text) for each in answer.evidence],
        structured=structured,
        report=_report(outcome, run, model, strategy, seed, total),
    )


def _candidates(answer: Answer) -> list[AnswerCandidate]:
    ordered = sorted(answer.candidates, key=lambda each: -each.share)
    return [AnswerCandidate.model_validate(each.model_dump()) for each in ordered]


def _report(
    outcome: RunOutcome, run: Run, model: str, strategy: dict[str, Any], seed: int, total: float
) -> AnswerReport:
    ledger = run.usage
    return AnswerReport(
        strategy=strategy,
        model=model,
        seed=seed,
        frames_viewed=ledger.frames_viewed,
        frames_unique=ledger.frames_unique,
        frame_times=[list(times) for times in ledger.frame_times],
        calls=ledger.calls,
        rounds=ledger.rounds,
        samples=ledger.samples,
        tool_calls=ledger.tool_calls,
        prompt_tokens=ledger.prompt_tokens,
        cached_tokens=ledger.cached_tokens,
        completion_tokens=ledger.completion_tokens,
        subtitles=ledger.subtitles,
        captions=CaptionUsage.model_validate(ledger.captions) if ledger.captions else None,
        seconds=Timings(**ledger.seconds, total=total),
        stopped=outcome.stopped,
        degraded=list(ledger.degraded),
    )


def round_floats(value: Any) -> Any:
    """Round all floats of a JSON value to four places."""
    if isinstance(value, float):
        return round(value, 4)
    if isinstance(value, dict):
        return {key: round_floats(each) for key, each in value.items()}
    if isinstance(value, list):
        return [round_floats(each) for each in value]
    return value
