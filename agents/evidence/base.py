"""The findings of a search, and the interface of a way to gather them."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict

from agents.core.question import Evidence
from agents.core.run import Run
from agents.core.tools import ToolResult
from agents.engines.base import Picture
from agents.prompts.untrusted import sanitise
from tools.base import Fact, Observation, ranked
from tools.video.sampling import Span, temporal_iou

_SPANS = 3
"""How many ranges of seconds an answer rests on at most."""
_CLOSER = 16
"""How many parts of pictures are kept to prove an answer with, the last ones."""
_TELLING = frozenset({"overview", "partition", "submit"})
"""Tools whose results tell of the whole; the others' point at seconds."""
_PART = 0.6
"""Part of the best score below which a fact is no evidence: it shares a stray word with what was asked. Ours."""


class Findings:
    """Facts in the order in which they were found. `cited`: the seconds that the answer itself names."""

    def __init__(self) -> None:
        self.facts: list[Fact] = []
        self.cited: tuple[Span, ...] = ()
        self._focus: tuple[Span, ...] = ()
        self._closer: list[Picture] = []

    def add(self, result: ToolResult) -> bool:
        """Take in a result; says whether it brought anything new."""
        seen = result.observation
        if not seen.ok:
            return False
        known = {(fact.start, fact.end, fact.text) for fact in self.facts}
        fresh = [fact for fact in seen.data if (fact.start, fact.end, fact.text) not in known]
        self.facts += fresh
        new = bool(fresh) or bool(result.pictures)
        if result.tool.name == "zoom":
            self._closer = [*self._closer, *result.pictures][-_CLOSER:]
        if result.tool.name not in _TELLING and "nothing_visible" not in seen.warnings and seen.spans:
            self._focus = _best(seen)
        return new

    @property
    def known(self) -> tuple[Fact, ...]:
        """All facts in order of time, the longer before the shorter ones within it."""
        return tuple(sorted(self.facts, key=lambda fact: (fact.start, -fact.end, fact.origin, fact.text)))

    def keep(self, spans: Sequence[Span]) -> None:
        """Forget what is not about any of these seconds, unless nothing were left."""
        kept = [fact for fact in self.facts if any(_meets(fact, span) for span in spans)]
        self.facts = kept or self.facts

    def forget(self, span: Span, *, finer_than: float) -> None:
        """Forget facts within a span that are about less than so many seconds: finer ones take their place."""
        inside = [f for f in self.facts if span.start <= f.start and f.end <= span.end and f.end - f.start < finer_than]
        self.facts = [fact for fact in self.facts if fact not in inside]

    def cite(self, observation: Observation) -> None:
        """The seconds that the answer names."""
        self.cited = tuple(Span(start, end) for start, end in observation.applied.ranges)

    @property
    def spans(self) -> tuple[Span, ...]:
        """The seconds that the answer rests on: those it names, else those last found or looked at."""
        return self.cited or self._focus

    @property
    def closer(self) -> tuple[Picture, ...]:
        """Parts of pictures in those seconds: what they show is too small to be seen in whole pictures."""
        return tuple(p for p in self._closer if any(s.start <= p.time <= s.end for s in self.spans))

    @property
    def spoken(self) -> tuple[Fact, ...]:
        """What is said in those seconds: it cannot be seen."""
        return tuple(f for f in self.facts if f.origin == "subtitle" and any(_meets(f, span) for span in self.spans))

    def evidence(self) -> tuple[Evidence, ...]:
        """The seconds that the answer rests on, with what was found there."""
        return tuple(Evidence(start=s.start, end=s.end, text=self._text(s)) for s in self.spans)

    def _text(self, span: Span) -> str:
        there = [fact for fact in self.facts if _meets(fact, span)]
        best = max(there, key=lambda fact: temporal_iou(_span(fact), span), default=None)
        return "looked at" if best is None else sanitise(best.text)


def _best(seen: Observation) -> tuple[Span, ...]:
    scored = [(fact.score, fact) for fact in ranked(seen.data) if fact.score is not None]
    near = [fact for score, fact in scored if score >= _PART * scored[0][0]]
    chosen = [_span(fact) for fact in near[:_SPANS]] or list(seen.spans[:_SPANS])
    return tuple(sorted(chosen, key=lambda span: span.start))


def _span(fact: Fact) -> Span:
    return Span(fact.start, max(fact.end, fact.start + 0.5))


def _meets(fact: Fact, span: Span) -> bool:
    return fact.start < span.end and max(fact.end, fact.start + 0.5) > span.start


class GatheringSession:
    """One run's gathering. What is found is added to `findings`, whatever of it is found."""

    def __init__(self, run: Run, findings: Findings) -> None:
        self.run = run
        self.findings = findings

    async def begin(self) -> None:
        """Gather what is there before the first attempt to answer; nothing, where one begins by planning."""

    async def more(self, missing: str) -> None:
        """Gather more, knowing in words what is missing. Raises BudgetExceeded, EngineError."""
        raise NotImplementedError


class Gatherer(BaseModel):
    """Parameters of one way to gather."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    by: str

    def session(self, run: Run, findings: Findings) -> GatheringSession:
        """Gathering for one run."""
        raise NotImplementedError
