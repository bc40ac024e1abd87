"""Evidence is gathered, weighed, and gathered again while it is not enough."""

from __future__ import annotations

import json
from typing import Any

import pytest

from agents.core.budget import Budget
from tests.agents.planner.stage import KNOWN, NO, SLOTS, UNSURE, YES, repeat, used
from tests.agents.stage import Performance, play, sure
from tools.index.index import Index
from tools.video.video import Video


def investigate(video: Video, script: Any, *, capabilities: frozenset[str] = SLOTS, **more: Any) -> Performance:
    engine = {key: more.pop(key) for key in ("budget", "question") if key in more}
    spec = {"name": "investigate", **more}
    return play(video, spec, script, capabilities=capabilities, index=Index(video.span.end, KNOWN), **engine)


def look(start: float, end: float, query: str = "the square") -> str:
    step = {"query": query, "mode": "region", "fps": 2, "detail": "medium", "regions": [{"start": start, "end": end}]}
    return json.dumps({"reasoning": "", "steps": [step]})


def told(answer: str, start: float, end: float) -> str:
    return json.dumps({"found": "yes", "answer": answer, "evidence": [{"start": start, "end": end, "text": answer}]})


def test_an_answer_that_is_probable_enough_ends_it(video: Video) -> None:
    done = investigate(
        video, [UNSURE, look(40, 50), told("a blue square", 42, 44), sure("C", 0.9), YES], rounds=3, last="judged"
    )
    assert (done.value, done.stopped) == ("C", "confident")
    assert [event.arguments["ranges"] for event in used(done)] == [[[40.0, 50.0]]]
    assert done.frames == [8, 0, 20, 0, 8], "direct, plan, look, attempt, proof"
    assert [(each.start, each.end) for each in done.outcome.answer.evidence] == [(40, 50), (42, 44)]


def test_an_answer_that_is_not_leads_to_another_round_that_knows_what_is_open(video: Video) -> None:
    first, second = [look(0, 10), told("a red star", 1, 2)], [look(40, 50), told("a blue square", 42, 44)]
    torn = {"A": 0.45, "B": 0.05, "C": 0.4, "D": 0.1}
    done = investigate(video, [UNSURE, *first, torn, *second, sure("C", 0.9), YES], last="judged")
    assert done.value == "C"
    assert "It is open whether it is red or blue." in done.calls[4].text
    assert "1-2: a red star" in done.calls[4].text
    assert "1-2: a red star" in done.calls[5].text, "the one who looks knows what was found before"


def test_the_direct_answer_stays_if_the_evidence_does_not_support_the_other(video: Video) -> None:
    done = investigate(video, [UNSURE, look(40, 50), told("blue", 42, 44), sure("C", 0.9), NO], last="judged")
    assert done.value == "A"


def test_a_model_that_fills_no_slots_still_looks_at_the_whole_and_answers(video: Video) -> None:
    def model(_: Any, sampling: Any, n: int) -> list[Any]:
        if sampling.choices:
            return [YES if sampling.choices == ("yes", "no") else UNSURE] * n
        return ["I do not do that"] * n

    done = investigate(video, model, rounds=2)
    assert done.value == "A"
    assert {event.error for event in used(done)} == {"refused"}


def test_without_a_schema_slots_are_asked_for_in_words(video: Video) -> None:
    done = investigate(
        video,
        [UNSURE, look(40, 50), "It is blue", sure("C", 0.9), YES],
        last="judged",
        capabilities=frozenset({"choices"}),
    )
    assert done.value == "C"
    assert 'Reply with JSON only: {"reasoning": text, "steps": [' in done.calls[1].text


def test_a_sure_direct_answer_ends_it_where_that_is_wanted(video: Video) -> None:
    done = investigate(video, [sure("B", 0.99)], enough=0.9)
    assert (done.value, done.stopped, len(done.calls)) == ("B", "confident", 1)


@pytest.mark.parametrize("by", ["observe", "pick", "recaption"])
@pytest.mark.parametrize("budget", [Budget(calls=1), Budget(calls=4), Budget(frames=20), Budget(tokens=3000)], ids=str)
def test_every_way_to_gather_keeps_to_the_budget(video: Video, by: str, budget: Budget) -> None:
    done = investigate(video, repeat(UNSURE, "words of some kind"), gather={"by": by}, budget=budget, rounds=6)
    assert done.value == "A"
    assert done.run.usage.calls <= (budget.calls or 10**9)
    assert done.run.usage.frames_viewed <= (budget.frames or 10**9)
