"""Findings of a search, and the base classes of ways to gather them."""

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
"""Most spans of evidence that an answer has."""
_CLOSER = 16
"""Most zoomed pictures kept as evidence; the latest stay."""
_TELLING = frozenset({"overview", "partition", "submit"})
"""Tools whose results describe the whole video; those of all others point at spans."""
_PART = 0.6
"""Facts below this share of the best score are no evidence: they match by a stray word. Our value, from no paper."""


class Findings:
    """Facts in the order in which they were found. `cited`: the spans that the answer itself names, in seconds."""

    def __init__(self) -> None:
        self.facts: list[Fact] = []
        self.cited: tuple[Span, ...] = ()
        self._focus: tuple[Span, ...] = ()
        self._closer: list[Picture] = []

    def add(self, result: ToolResult) -> bool:
        """Add a tool result; return whether it brought new facts or pictures."""
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
        """All facts by start time, longer ones first where they start together."""
        return tuple(sorted(self.facts, key=lambda fact: (fact.start, -fact.end, fact.origin, fact.text)))

    def keep(self, spans: Sequence[Span]) -> None:
        """Keep only facts that overlap one of the spans; keep all if none does."""
        kept = [fact for fact in self.facts if any(_meets(fact, span) for span in spans)]
        self.facts = kept or self.facts

    def forget(self, span: Span, *, finer_than: float) -> None:
        """Drop facts inside the span that are shorter than `finer_than` seconds, before finer ones replace them."""
        inside = [f for f in self.facts if span.start <= f.start and f.end <= span.end and f.end - f.start < finer_than]
        self.facts = [fact for fact in self.facts if fact not in inside]

    def cite(self, observation: Observation) -> None:
        """Cite the ranges of an observation, such as that of `submit`."""
        self.cited = tuple(Span(start, end) for start, end in observation.applied.ranges)

    @property
    def spans(self) -> tuple[Span, ...]:
        """Spans of the evidence: those that the answer cites, else those last found or looked at."""
        return self.cited or self._focus

    @property
    def closer(self) -> tuple[Picture, ...]:
        """Zoomed pictures within the evidence; they show what is too small to be seen in whole frames."""
        return tuple(p for p in self._closer if any(s.start <= p.time <= s.end for s in self.spans))

    @property
    def spoken(self) -> tuple[Fact, ...]:
        """Subtitles within the evidence, which frames cannot show."""
        return tuple(f for f in self.facts if f.origin == "subtitle" and any(_meets(f, span) for span in self.spans))

    def evidence(self) -> tuple[Evidence, ...]:
        """The evidence as reported to the caller: each span with the fact that fits it best."""
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
    """Gathers evidence for one run and adds it to `findings` as it is found."""

    def __init__(self, run: Run, findings: Findings) -> None:
        self.run = run
        self.findings = findings

    async def begin(self) -> None:
        """Gather before the first attempt to answer. Does nothing by default."""

    async def more(self, missing: str) -> None:
        """Gather more; `missing` says in words what the last attempt lacked. Raises BudgetExceeded, EngineError."""
        raise NotImplementedError


class Gatherer(BaseModel):
    """A way to gather evidence: its fields are its parameters."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    by: str

    def session(self, run: Run, findings: Findings) -> GatheringSession:
        """Start gathering for one run."""
        raise NotImplementedError
