"""Presets of investigations keep what their papers say. The direct answer before and the proof after are ours."""

from __future__ import annotations

import json
from typing import Any

import pytest

from agents.core.question import Question
from agents.core.trace import ModelEvent
from agents.engines.scripted import RecordedCall
from agents.evidence.pick import spread_seconds
from tests.agents.planner.stage import SLOTS, UNSURE, YES, used
from tests.agents.stage import COLOURS, Performance, play, sure
from tests.tools.contexts import index_entry
from tools.index.index import Index
from tools.video.sampling import Span
from tools.video.video import Video

MINUTES = (
    index_entry(0, 64, "shapes move", level=60.0),
    *(index_entry(10 * i, 10 * i + 10, "shapes") for i in range(7)),  # a minute's caption is made from these
    index_entry(12, 14, "look at this", "subtitle"),
)


def perform(video: Video, name: str, script: Any, lines: tuple[Any, ...] = (), **more: Any) -> Performance:
    return play(video, name, script, capabilities=SLOTS, index=Index(video.span.end, lines), **more)


def purposes(done: Performance) -> list[str]:
    return [event.purpose for event in done.run.trace.events if isinstance(event, ModelEvent)]


def asked_for(done: Performance, purpose: str) -> list[RecordedCall]:
    return [call for call, what in zip(done.calls, purposes(done), strict=True) if what == purpose]


# Active Video Perception


def plan(*steps: tuple[str, float, str, list[tuple[float, float]]]) -> str:
    made = [
        {
            "query": "q",
            "mode": mode,
            "fps": fps,
            "detail": detail,
            "regions": [{"start": a, "end": b} for a, b in regions],
        }
        for mode, fps, detail, regions in steps
    ]
    return json.dumps({"reasoning": "r", "steps": made})


LOOK = plan(("region", 2, "medium", [(10, 20)]))
SEEN = '{"found": "yes", "answer": "a star", "evidence": [{"start": 12, "end": 14, "text": "a red star"}]}'


def reflection(sufficient: bool, confidence: float, answer: str = "red", missing: str = "") -> str:
    return json.dumps({"sufficient": sufficient, "confidence": confidence, "answer": answer, "missing": missing})


def test_avp_plans_observes_reflects_and_stops_at_sufficient_and_confident(video: Video) -> None:
    done = perform(video, "avp", [UNSURE, LOOK, SEEN, reflection(True, 0.7)])
    assert purposes(done) == ["choose", "plan", "ask", "reflect"], "the answer is the reflection's: no further call"
    assert (done.value, done.stopped) == ("A", "confident")


@pytest.mark.parametrize(("sufficient", "confidence"), [(False, 0.9), (True, 0.69)])
def test_avp_goes_on_while_either_is_missing(video: Video, sufficient: bool, confidence: float) -> None:
    script = [
        UNSURE,
        LOOK,
        SEEN,
        reflection(sufficient, confidence, missing="which one"),
        LOOK,
        SEEN,
        reflection(True, 0.9),
    ]
    done = perform(video, "avp", script)
    assert purposes(done).count("ask") == 2
    assert "still missing: which one" in asked_for(done, "plan")[1].text


def test_avp_answers_by_force_after_the_third_look(video: Video) -> None:
    turn = [LOOK, SEEN, reflection(False, 0.2)]
    done = perform(video, "avp", [UNSURE, *turn, *turn, LOOK, SEEN, sure("A", 0.8)])
    assert purposes(done) == ["choose", *["plan", "ask", "reflect"] * 2, "plan", "ask", "conclude"]
    assert done.value == "A"


def test_avp_cuts_a_plan_to_its_first_step(video: Video) -> None:
    two = plan(("region", 2, "medium", [(10, 20)]), ("region", 2, "medium", [(30, 40)]))
    done = perform(video, "avp", [UNSURE, two, SEEN, reflection(True, 0.9)])
    assert [event.arguments["ranges"] for event in used(done)] == [[[10, 20]]]


def test_avp_looks_evenly_where_a_plan_cannot_be_read_or_covers_everything(video: Video) -> None:
    done = perform(video, "avp", [UNSURE, "hm", "hm", SEEN, reflection(True, 0.9)])
    assert used(done)[0].arguments["ranges"] == [[0, 64]]
    assert asked_for(done, "ask")[0].frames == 32, "half a frame a second"
    everything = plan(("region", 2, "medium", [(0, 30), (30, 64)]))
    done = perform(video, "avp", [UNSURE, everything, SEEN, reflection(True, 0.9)])
    assert used(done)[0].arguments["ranges"] == [[0, 64]]


def test_avp_caps_frames_by_detail(video: Video) -> None:
    dense = plan(("uniform", 5, "medium", []))
    done = perform(video, "avp", [UNSURE, dense, SEEN, reflection(True, 0.9)])
    assert asked_for(done, "ask")[0].frames == 128


def test_avp_takes_what_it_cannot_read_for_insufficient(video: Video) -> None:
    done = perform(video, "avp", [UNSURE, LOOK, SEEN, "hm", "hm", LOOK, SEEN, reflection(True, 0.9)])
    assert purposes(done).count("plan") == 2


# VideoAgent


def attempt(answer: str = "red") -> str:
    return json.dumps({"reasoning": "so it seems", "answer": answer})


def grade(number: int) -> str:
    return json.dumps({"confidence": number})


def choice(segment: int, description: str = "a star") -> str:
    return json.dumps({"frames": [{"segment": segment, "description": description}]})


CAPTIONS = ["a frame"] * 5


def test_videoagent_begins_with_five_frames_from_the_first_to_the_last(video: Video) -> None:
    assert spread_seconds(Span(0, 64), 5) == [0, 15, 31, 47, 63]
    assert spread_seconds(Span(0, 180), 5) == [0, 44, 89, 134, 179]
    done = perform(video, "videoagent", [UNSURE, *CAPTIONS, attempt(), grade(3)])
    described = [call.times[0] for call in asked_for(done, "caption")]
    assert sorted(described) == pytest.approx([0, 15, 31, 47, 63], abs=0.3)


def test_videoagent_needs_two_calls_where_the_grade_is_three(video: Video) -> None:
    done = perform(video, "videoagent", [UNSURE, *CAPTIONS, attempt(), grade(3)])
    assert [p for p in purposes(done) if p not in ("choose", "caption")] == ["attempt", "grade"]
    assert (done.value, done.stopped) == ("A", "confident")


def test_videoagent_needs_seven_where_it_never_is(video: Video) -> None:
    rounds = [attempt(), grade(1), choice(2), "a new frame", attempt(), grade(2), choice(3), "another", sure("A", 0.6)]
    done = perform(video, "videoagent", [UNSURE, *CAPTIONS, *rounds])
    thinking = [p for p in purposes(done)[1:] if p != "caption"]
    assert thinking == ["attempt", "grade", "choose", "attempt", "grade", "choose", "conclude"]
    assert done.stopped == "complete"


def test_videoagent_fetches_frames_from_the_gap_it_names(video: Video) -> None:
    known = (index_entry(18, 22, "a star appears"),)
    script = [UNSURE, *CAPTIONS, attempt(), grade(1), choice(2), "a new frame", attempt(), grade(3)]
    done = perform(video, "videoagent", script, known)
    assert asked_for(done, "caption")[-1].times == pytest.approx((20,), abs=0.3), "the best hit within the gap"
    done = perform(video, "videoagent", script)
    assert asked_for(done, "caption")[-1].times == pytest.approx((23,), abs=0.3), "else the middle of the gap"
    listed = asked_for(done, "attempt")[-1].text
    starts = [float(each.partition("-")[0]) for each in listed.split("<data>\n")[1].split("\n</data>")[0].split("\n")]
    assert starts == sorted(starts), "described frames in order of time"


# VideoLucy


def period(start: float, end: float) -> str:
    return json.dumps({"start": start, "end": end, "instruction": "the colour of the star"})


HERE = '{"local": true, "periods": [{"start": 0, "end": 60}]}'


def test_videolucy_answers_from_coarse_captions_if_they_are_enough(video: Video) -> None:
    done = perform(video, "videolucy", [UNSURE, reflection(True, 0.0)], MINUTES)
    assert purposes(done) == ["choose", "reflect"]
    assert done.value == "A"


def test_videolucy_describes_a_period_and_its_pieces_anew(video: Video) -> None:
    script = [UNSURE, reflection(False, 0), HERE, period(20, 50), *["a red star"] * 4, reflection(True, 0)]
    done = perform(video, "videolucy", script, MINUTES)
    ranges = [(event.arguments["start"], event.arguments["end"]) for event in used(done)[1:]]
    assert sorted(ranges) == [(20, 30), (20, 50), (30, 40), (40, 50)], "at once"
    assert {call.frames for call in asked_for(done, "caption")} == {30, 20}, "whole at 1, pieces at 2 frames a second"
    assert "Pay attention to: the colour of the star" in asked_for(done, "caption")[0].text


def test_videolucy_cuts_ten_seconds_into_single_ones(video: Video) -> None:
    script = [UNSURE, reflection(False, 0), HERE, period(20, 30), *["a red star"] * 11, reflection(True, 0)]
    done = perform(video, "videolucy", script, MINUTES)
    assert len(used(done)[1:]) == 11
    assert sorted(call.frames for call in asked_for(done, "caption")) == [2] * 10 + [20]


def test_videolucy_does_not_choose_a_period_twice(video: Video) -> None:
    turn = [period(20, 50), *["a red star"] * 4, reflection(False, 0)]
    script = [UNSURE, reflection(False, 0), HERE, *turn, period(20, 50), *["a field"] * 7, reflection(True, 0)]
    done = perform(video, "videolucy", script, MINUTES)
    chosen = [event.arguments for event in used(done)[1:] if event.arguments["end"] - event.arguments["start"] > 12]
    assert [(each["start"], each["end"]) for each in chosen] == [(20, 50), (0, 64)]
    assert "not to be chosen again: 20 to 50 s" in asked_for(done, "choose")[-1].text


def test_videolucy_does_not_ask_for_a_place_where_the_question_counts(video: Video) -> None:
    third = Question(text="Which colour is the third star?", options=COLOURS.options, kind="choice")
    script = [UNSURE, reflection(False, 0), period(20, 50), *["a red star"] * 4, reflection(True, 0)]
    done = perform(video, "videolucy", script, MINUTES, question=third)
    assert "judge" not in purposes(done)


def test_videolucy_answers_by_force_after_five_rounds(video: Video) -> None:
    turns = [each for at in range(5) for each in (period(10 * at, 10 * at + 10), *["x"] * 11, reflection(False, 0))]
    done = perform(video, "videolucy", [UNSURE, reflection(False, 0), HERE, *turns, sure("C", 0.9), YES], MINUTES)
    assert purposes(done).count("reflect") == 6
    assert purposes(done)[-2:] == ["conclude", "verify"]
    assert done.value == "C"


# All


@pytest.mark.parametrize("name", ["videolucy", "videoagent", "videomultiagents"])
def test_a_second_question_does_not_caption_anew_what_is_known(video: Video, name: str) -> None:
    index = Index(video.span.end)

    def script(_: Any, sampling: Any, n: int) -> list[Any]:
        shape = str(sampling.schema)
        slots = grade(3) if "confidence" in shape and "missing" not in shape else reflection(True, 1.0)
        return [UNSURE if sampling.choices else slots if sampling.schema else "a shape. Answer: red"] * n

    first = play(video, name, script, capabilities=SLOTS, index=index)
    second = play(video, name, script, capabilities=SLOTS, index=index)
    work = [sum("caption" in purpose or "summar" in purpose for purpose in purposes(done)) for done in (first, second)]
    assert work[0] > 0 and work[1] == 0
    assert second.value == first.value
