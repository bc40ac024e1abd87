"""What of a search's results an answer may rest on."""

from __future__ import annotations

from agents.core.tools import ToolResult
from agents.evidence.base import Findings
from tools.base import Fact, Observation
from tools.builtin.search import SearchClips


def found(*scores: float | None) -> Findings:
    """Findings after one search that found clips of ten seconds with these scores."""
    findings = Findings()
    facts = tuple(Fact(start=20.0 * i, end=20.0 * i + 10, text=f"clip {i}", score=s) for i, s in enumerate(scores))
    findings.add(ToolResult(SearchClips(query="a star"), Observation(summary="clips", data=facts)))
    return findings


def test_hits_far_below_the_best_are_no_evidence() -> None:
    findings = found(0.5, 0.9, 0.55)
    assert [(each.start, each.text) for each in findings.evidence()] == [(20, "clip 1"), (40, "clip 2")]
    assert len(findings.known) == 3, "the model has read them all the same"


def test_without_scores_the_first_count() -> None:
    assert [span.start for span in found(None, None).spans] == [0, 20]


def test_what_is_known_has_one_order_whoever_was_first() -> None:
    facts = [
        Fact(start=0, end=9, text="a star"),
        Fact(start=0, end=9, text="a moon"),
        Fact(start=0, end=60, text="all"),
    ]
    orders = []
    for given in (facts, facts[::-1]):
        findings = Findings()
        findings.facts += given
        orders.append([fact.text for fact in findings.known])
    assert orders == [["all", "a moon", "a star"]] * 2
