"""Decide between the direct answer and the one that a search found, by a fresh look at its evidence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from agents.core.question import Answer, Evidence, StopReason
from agents.core.run import Run
from agents.engines.base import Picture
from agents.evidence.base import Findings
from agents.parsing.answers import Sample, sample_from_probabilities
from agents.parsing.confidence import normalise
from agents.prompts import agentic, questions
from tools.video.sampling import Span, spread, uniform, widen

_MIN_SECONDS = 2.0  # shorter evidence is widened to this before its frames are loaded


@dataclass(frozen=True, slots=True)
class Challenge:
    """Result of a search: an answer, if any, its evidence, and why the search stopped.

    `support`: the answer's probability given the evidence alone, if it has been measured already.
    """

    answer: Sample | None
    findings: Findings
    stopped: StopReason = "complete"
    support: float | None = None


async def look_first(run: Run, frames: int, fps: float = 0.0, tokens: int = 0) -> tuple[Picture, ...]:
    """Evenly spread frames: at most `frames`, at `fps` a second, within `tokens`; 0 lifts either of the last two."""
    dense = round(run.span.length * fps) if fps else frames
    room = tokens // run.tool_context().frame_sizes[0][1] if tokens else frames
    return await run.look(uniform(run.span, max(1, min(frames, dense, room))))


async def answer_directly(run: Run, pictures: Sequence[Picture]) -> Sample:
    """Answer directly and propose the answer, so that it is returned if nothing better is found."""
    direct = await run.choose(pictures)
    run.propose(direct.value, direct.confidence, shares=direct.probabilities, confidences=direct.probabilities)
    return direct


def is_confident(direct: Sample, enough: float) -> bool:
    """Whether the direct answer reaches `enough`, so that no search is needed. Never for `enough=1`."""
    return enough < 1 and direct.confidence is not None and direct.confidence >= enough


async def verify_challenge(run: Run, direct: Sample, challenge: Challenge, *, support: float, frames: int) -> Answer:
    """Return the challenge if it agrees with the direct answer or its evidence supports it; else the direct answer.

    `support`: least P(yes) of the challenge, given at most `frames` frames of its evidence.
    """
    found, findings, stopped = challenge.answer, challenge.findings, challenge.stopped
    if found is None or found.value is None:
        return run.propose(direct.value, direct.confidence, shares=direct.probabilities, stopped=stopped)
    evidence = findings.evidence()
    if found.value == direct.value:
        known = [each for each in (direct.confidence, found.confidence) if each is not None]
        return run.propose(found.value, max(known, default=None), evidence=evidence, stopped=stopped)
    belief = challenge.support
    if belief is None:
        belief = await _support(run, found.value, findings, frames)
    if direct.value is None:
        return run.propose(found.value, belief, evidence=evidence, stopped=stopped)
    if belief is None or belief < support:
        run.note("kept the direct answer: the evidence does not support the other", other=found.value, belief=belief)
        return _pick_answer(run, direct.value, direct.confidence, found.value, belief, (), stopped)
    return _pick_answer(run, found.value, belief, direct.value, direct.confidence, evidence, stopped)


async def answer_from_evidence(run: Run, challenge: Challenge, frames: int) -> Challenge:
    """Ask the question once more with the evidence alone, and replace the challenge's answer by the new one.

    Without evidence, or if the engine returns no probabilities, the challenge is returned unchanged.
    """
    if challenge.answer is None or not challenge.findings.spans:
        return challenge
    shares = await run.choice_probabilities(
        await _evidence(run, challenge.findings, frames), known=challenge.findings.spoken
    )
    if shares is None:
        return challenge
    seen = sample_from_probabilities(shares, run.question)
    return replace(challenge, answer=seen, support=seen.confidence)


async def _support(run: Run, value: str, findings: Findings, frames: int) -> float | None:
    if not findings.spans:
        return None
    pictures = await _evidence(run, findings, frames)
    question = questions.verify(run.question, run.display(value))
    return await run.yes_probability(pictures, agentic.with_facts(findings.spoken, question))


async def _evidence(run: Run, findings: Findings, frames: int) -> tuple[Picture, ...]:
    spans = tuple(widen(_inside(span, run.span), _MIN_SECONDS, run.span) for span in findings.spans)
    return findings.closer or await run.look(spread(spans, frames))


def _inside(span: Span, whole: Span) -> Span:
    start = whole.clamp(span.start)
    return Span(min(start, whole.end - 1e-3), max(whole.clamp(span.end), min(start, whole.end - 1e-3) + 1e-3))


def _pick_answer(
    run: Run,
    value: str,
    confidence: float | None,
    other: str,
    doubt: float | None,
    evidence: tuple[Evidence, ...],
    stopped: StopReason,
) -> Answer:
    weights = {value: confidence if confidence else 0.5, other: doubt or 0.0}
    confidences = {other: doubt} if doubt is not None else {}
    shares = normalise(weights)
    return run.propose(value, confidence, shares=shares, confidences=confidences, evidence=evidence, stopped=stopped)
