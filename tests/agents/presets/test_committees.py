"""Presets of committees keep what their papers say. The direct answer before and the proof after are ours."""

from __future__ import annotations

import json
from typing import Any

import pytest

from agents.committee.grounding import windows
from agents.core.trace import InfoEvent, ModelEvent
from agents.engines.base import Prompt, Sampling, pictures_of
from agents.engines.scripted import RecordedCall
from tests.agents.planner.stage import NO, SLOTS, UNSURE, YES, used
from tests.agents.stage import Performance, play, sure
from tests.tools.contexts import index_entry
from tools.index.index import Index
from tools.video.sampling import Span
from tools.video.video import Video

FIVE = tuple(
    index_entry(at, at + 4, f"a star number {word}") for at, word in zip((2, 14, 26, 38, 50), "abcde", strict=True)
)


def perform(video: Video, spec: Any, script: Any, lines: tuple[Any, ...] = (), **more: Any) -> Performance:
    return play(video, spec, script, capabilities=SLOTS, index=Index(video.span.end, lines), **more)


def purposes(done: Performance) -> list[str]:
    return [event.purpose for event in done.run.trace.events if isinstance(event, ModelEvent)]


def asked_for(done: Performance, purpose: str) -> list[RecordedCall]:
    return [call for call, what in zip(done.calls, purposes(done), strict=True) if what == purpose]


# VideoMind

ROLES = '{"ground": true, "query": "a star"}'
FIRST = {"A": 0.7, "B": 0.1, "C": 0.1, "D": 0.1}


def believing(best: float, reply: Any = ROLES) -> Any:
    """A model that says yes most surely where the marked span begins at a certain second."""

    def model(prompt: Prompt, sampling: Sampling, n: int) -> list[Any]:
        if sampling.choices == ("yes", "no"):
            parts = prompt[-1].parts
            here = "Segment starts here." in parts and _second_after(parts, "Segment starts here.") - best < 1
            near = here and _second_after(parts, "Segment starts here.") >= best
            return [YES if near or "Segment starts here." not in parts else NO] * n
        return [FIRST if sampling.choices else reply] * n

    return model


def _second_after(parts: Any, mark: str) -> float:
    return float(parts[parts.index(mark) + 1].time)


def test_videomind_checks_five_spans_and_answers_from_the_best(video: Video) -> None:
    done = perform(video, "videomind", believing(26.0), FIVE)
    assert purposes(done) == ["choose", "roles", *["verify"] * 5, "conclude"]
    last = asked_for(done, "conclude")[0]
    assert min(last.times) >= 12 - 0.5
    assert max(last.times) <= 44 + 0.5, "26 to 30, widened to 32 seconds"
    assert last.frames == 32, "2 a second, 32 at most"


def test_videomind_shows_each_span_with_half_its_length_on_either_side(video: Video) -> None:
    done = perform(video, "videomind", believing(26.0), FIVE)
    spans = sorted((min(call.times), max(call.times)) for call in asked_for(done, "verify"))
    assert spans[0] == pytest.approx((0, 8), abs=0.5), "2 to 6 and 2 on each side"
    assert spans[2] == pytest.approx((24, 32), abs=0.5)
    parts = asked_for(done, "verify")[0].prompt[-1].parts
    assert "Segment starts here." in parts
    assert "Segment ends here." in parts


def test_videomind_ranks_by_sigmoid_of_yes_minus_no(video: Video) -> None:
    done = perform(video, "videomind", believing(26.0), FIVE)
    (noted,) = (event for event in done.run.trace.events if isinstance(event, InfoEvent) and "likely" in event.text)
    assert noted.data["scores"] == pytest.approx([0.69, *[0.3543] * 4], abs=1e-3)


def test_videomind_takes_five_windows_where_nothing_is_found(video: Video) -> None:
    assert windows(Span(0, 60)) == [Span(0, 20), Span(10, 30), Span(20, 40), Span(30, 50), Span(40, 60)]
    done = perform(video, "videomind", believing(0.0, "hm"))
    assert purposes(done).count("verify") == 5


def test_videomind_skips_what_needs_no_moment(video: Video) -> None:
    done = perform(video, "videomind", believing(0.0, '{"ground": false, "query": ""}'), FIVE)
    assert purposes(done) == ["choose", "roles", "conclude"]


def test_videomind_asks_the_model_when_the_index_knows_nothing(video: Video) -> None:
    spans = '{"spans": [{"start": 10, "end": 14}, {"start": 30, "end": 20}], "ground": true, "query": "a star"}'
    done = perform(video, "videomind", believing(10.0, spans))
    assert asked_for(done, "ground")[0].frames == 64, "one a second"
    assert purposes(done).count("verify") == 1, "the reversed one is none"


def test_videomind_tells_what_is_said_in_the_span(video: Video) -> None:
    done = perform(video, "videomind", believing(26.0), (*FIVE, index_entry(27, 28, "look at the star", "subtitle")))
    assert "27-28: look at the star" in asked_for(done, "conclude")[0].text


# ReAgent-V


def revised(answer: str, confidence: float) -> str:
    return json.dumps({"answer": answer, "confidence": confidence, "reasoning": "r"})


CONSULT = '{"helpers": ["captions"], "query": "a star"}'
MARKS = '{"visual": 4, "temporal": 3, "options": 5, "reasoning": 2, "language": 4, "reward": 0.6}'
NONE = '{"questions": []}'


def test_reagent_v_fuses_where_all_stances_are_sure_enough(video: Video) -> None:
    stances = [revised("red", 0.61), revised("green", 0.71), revised("blue", 0.81)]
    done = perform(video, "reagent_v", [UNSURE, CONSULT, UNSURE, NONE, MARKS, *stances, sure("B", 0.8), YES], FIVE)
    expected = ["choose", "consult", "conclude", "critic", "evaluate", "conservative", "neutral", "aggressive"]
    assert purposes(done) == [*expected, "conclude", "verify"]
    assert done.value == "B"


def test_reagent_v_takes_the_surest_where_one_is_not(video: Video) -> None:
    stances = [revised("red", 0.61), revised("green", 0.69), revised("blue", 0.95)]
    consult = '{"helpers": ["captions"], "query": "a star number c"}'
    spec = {"name": "reagent_v"}
    done = perform(video, spec, [UNSURE, consult, UNSURE, NONE, MARKS, *stances, YES], FIVE)
    assert purposes(done)[-2:] == ["aggressive", "verify"]
    assert done.value == "C"


def test_reagent_v_looks_up_what_the_critic_asks_and_nothing_without_questions(video: Video) -> None:
    stances = [revised("red", 0.9)] * 3
    asked = '{"questions": ["Where is the star?", "Who speaks?"]}'
    done = perform(video, "reagent_v", [UNSURE, CONSULT, UNSURE, asked, MARKS, *stances, sure("A", 0.8)], FIVE)
    assert [event.tool for event in used(done)] == ["search_clips", *["search_clips", "search_subtitles"] * 2]
    done = perform(video, "reagent_v", [UNSURE, CONSULT, UNSURE, NONE, MARKS, *stances, sure("A", 0.8)], FIVE)
    assert [event.tool for event in used(done)] == ["search_clips"]


def test_reagent_v_keeps_only_what_fits_well_enough(video: Video) -> None:
    script = [
        UNSURE,
        '{"helpers": ["captions"], "query": "zebra crossing"}',
        UNSURE,
        NONE,
        MARKS,
        *[revised("red", 0.9)] * 3,
    ]
    done = perform(video, "reagent_v", [*script, sure("A", 0.8)], FIVE)
    assert "<data>\n2-6" not in asked_for(done, "critic")[0].text


def test_a_stance_that_cannot_be_read_does_not_count(video: Video) -> None:
    script = [UNSURE, CONSULT, UNSURE, NONE, MARKS, "hm", "hm", revised("red", 0.9), revised("purple", 0.99)]
    done = perform(video, "reagent_v", script, FIVE)
    assert done.value == "A"
    assert purposes(done)[-1] != "conclude", "two of three are not all"


# VideoMultiAgents


def members(*answers: str) -> Any:
    """A model whose members answer so, whoever comes first."""
    left = dict(zip(("text", "video", "graph"), answers, strict=True))

    def model(prompt: Prompt, sampling: Sampling, n: int) -> list[Any]:
        if sampling.choices == ("yes", "no"):
            return [YES] * n
        if sampling.choices:
            return [sure("B", 0.9) if "member" in str(prompt[-1].parts[-1]) else UNSURE] * n
        said = str(prompt[-1].parts[-1])
        if "Describe what they show" in said:
            return ["relations" if "who does what" in said else "a star"] * n
        who = "video" if pictures_of(prompt) else "graph" if "relations" in said else "text"
        return [f"I think so. Answer: {left[who]}"] * n

    return model


def test_videomultiagents_needs_no_organiser_where_all_agree(video: Video) -> None:
    done = perform(video, "videomultiagents", members("red", "red", "red"))
    assert "conclude" not in purposes(done)
    assert (done.value, done.stopped) == ("A", "agreed")


def test_videomultiagents_needs_one_where_they_do_not(video: Video) -> None:
    done = perform(video, "videomultiagents", members("red", "green", "red"))
    assert purposes(done).count("conclude") == 1
    assert done.value == "B"
    organised = asked_for(done, "conclude")[0]
    assert organised.sampling.choices == ("A", "B", "C", "D"), "bound to the options"
    assert organised.sampling.temperature == 0
    assert organised.text.count("member") == 3


def test_videomultiagents_asks_its_members_with_heat(video: Video) -> None:
    done = perform(video, "videomultiagents", members("red", "green", "red"))
    heats = {
        call.sampling.temperature for who in ("text", "video", "graph") for call in asked_for(done, f"member {who}")
    }
    assert heats == {0.7}
    assert [call.frames for call in asked_for(done, "member video")] == [180]
    assert [call.frames for call in asked_for(done, "member text")] == [0]


# ViQAgent

SCENES = '{"scenes": [{"start": 0, "end": 30, "text": "a star"}, {"start": 30, "end": 64, "text": "a square"}]}'
TARGETS = '{"targets": ["star", "square"]}'


def viq(disagree: bool) -> Any:
    doubts = [{"start": i, "end": i + 5, "question": f"Which {i}?"} for i in (0, 10, 20, 30)]

    def model(_: Prompt, sampling: Sampling, n: int) -> list[Any]:
        if sampling.choices:
            return [YES if sampling.choices == ("yes", "no") else UNSURE] * n
        shape = str(sampling.schema)
        if "scenes" in shape:
            return [SCENES] * n
        if "targets" in shape:
            return [TARGETS] * n
        if "disagree" in shape:
            return [json.dumps({"disagree": disagree, "reasoning": "the scenes say otherwise"})] * n
        if "doubts" in shape:
            return [json.dumps({"doubts": doubts})] * n
        return ['{"found": "yes", "answer": "it is red", "evidence": []}'] * n

    return model


def test_viqagent_asks_three_things_and_concludes_where_nothing_contradicts(video: Video) -> None:
    done = perform(video, "viqagent", viq(False))
    assert sorted(purposes(done)) == sorted(["choose", "conclude", "scenes", "targets", "compare", "conclude"])
    assert done.calls[1].frames == 32
    assert "0-30: a star" in asked_for(done, "compare")[0].text


def test_viqagent_asks_again_at_most_three_questions_about_some_seconds(video: Video) -> None:
    done = perform(video, "viqagent", viq(True))
    assert purposes(done).count("ask") == 3
    assert len(done.calls) <= 1 + 9, "the paper's nine, and the direct answer"
    assert sorted(event.arguments["start"] for event in used(done)) == [0, 10, 20]


def test_viqagent_says_that_it_has_no_detector(video: Video) -> None:
    done = perform(video, "viqagent", viq(False))
    assert "no detector is installed: things were not looked for by name" in done.run.usage.degraded


# Any committee


def test_stages_can_be_put_together_in_a_request(video: Video) -> None:
    spec = {"name": "committee", "stages": [{"do": "ground", "spans": 2}, {"do": "answer", "frames": 4}]}
    done = perform(video, spec, [UNSURE, ROLES, FIRST, YES], FIVE)
    assert purposes(done) == ["choose", "roles", "conclude"]
    assert done.frames[-1] == 4


def test_a_sure_direct_answer_ends_it_where_that_is_wanted(video: Video) -> None:
    done = perform(video, {"name": "committee", "enough": 0.9}, [sure("B", 0.95)])
    assert (done.value, done.stopped, len(done.calls)) == ("B", "confident", 1)
