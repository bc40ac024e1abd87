"""How a planner searches when nothing goes wrong, in each of the three ways to call."""

from __future__ import annotations

import asyncio
import itertools

import pytest

from agents.core.run import Run
from agents.core.runner import run_strategy
from agents.core.trace import InfoEvent
from agents.engines.base import Message, pictures_of
from agents.engines.scripted import ScriptedEngine
from agents.presets import Catalogue
from tests.agents.planner.stage import (
    NATIVE,
    NO,
    SLOTS,
    UNSURE,
    YES,
    call,
    calls,
    heard,
    pictures,
    search,
    slot,
    used,
    words,
)
from tests.agents.stage import COLOURS, WHAT, sure
from tools.context import RecognizedText
from tools.video.frame import Frame
from tools.video.video import Video

TOLD = ["search_clips", "search_subtitles"]


def test_on_lines_of_text(video: Video) -> None:
    done = search(video, [UNSURE, "search_clips blue square", "view 40 44", "Answer: blue", YES])
    assert (done.value, done.confidence, done.stopped) == ("C", 0.9, "complete")
    assert [event.tool for event in used(done)] == ["search_clips", "view"]
    assert done.frames == [8, 8, 8, 16, 8], "the first look stays, the view is added; the proof is looked at afresh"
    assert done.run.usage.tool_calls == 2
    assert done.run.usage.rounds == 3


def test_what_is_seen_of_the_evidence_replaces_what_was_read(video: Video) -> None:
    script = [UNSURE, "search_clips blue square", "Answer: red", sure("C", 0.8)]
    done = search(video, script, review=True, proof=4)
    assert (done.value, done.confidence) == ("C", 0.8), "the last call has seen it; nobody asks a fifth time"
    assert done.frames[-1] == 4
    assert [(each.start, each.end) for each in done.outcome.answer.evidence] == [(40, 50)]


def test_a_review_that_is_unsure_changes_nothing(video: Video) -> None:
    done = search(video, [UNSURE, "search_clips blue square", "Answer: red", sure("C", 0.45)], review=True)
    assert done.value == "A", "the direct answer stays"


def test_without_probabilities_nothing_is_reviewed(video: Video) -> None:
    done = search(video, ["A", "search_clips blue square", "Answer: red"], review=True, capabilities=frozenset())
    assert (done.value, len(done.calls)) == ("A", 3)


def test_what_is_said_there_is_told_in_a_review(video: Video) -> None:
    done = search(video, [UNSURE, "search_clips red star", "Answer: red", sure("C", 0.8)], review=True, shown=False)
    assert "blue" not in done.calls[3].text.split("Question:")[0]
    done = search(video, [UNSURE, "search_subtitles Anna", "Answer: red", sure("C", 0.8)], review=True, tools=TOLD)
    assert done.calls[3].text.startswith("\n<data>") and "my name is Anna" in done.calls[3].text


def test_natively(video: Video) -> None:
    script = [UNSURE, call("search_clips", query="blue square"), call("view", "2", start=40, end=44)]
    done = search(video, [*script, call("submit", "3", answer="blue", start=41, end=43), YES], capabilities=NATIVE)
    assert done.value == "C"
    assert [tool.name for tool in done.calls[1].sampling.tools][-1] == "submit"
    prompt = done.calls[3].prompt
    assert [message.role for message in prompt] == ["user", "assistant", "tool", "user", "assistant", "tool", "user"]
    assert prompt[2].call == prompt[1].calls[0], "the id of a call is echoed"
    assert not pictures(prompt[5]), "pictures come in the user's turn, which every template can show"
    assert len(pictures(prompt[6])) == 8
    assert [(each.start, each.end) for each in done.outcome.answer.evidence] == [(41, 43)]


def test_in_json_slots(video: Video) -> None:
    script = [UNSURE, slot("search_clips", query="blue square"), slot("submit", answer="blue"), YES]
    done = search(video, script, capabilities=SLOTS)
    assert done.value == "C"
    schema = done.calls[1].sampling.schema
    assert schema is not None
    assert [each["properties"]["tool"]["const"] for each in schema["anyOf"]][-1] == "submit"


def test_the_direct_answer_stays_if_the_evidence_does_not_support_the_other(video: Video) -> None:
    done = search(video, [UNSURE, "search_clips blue square", "Answer: blue", NO])
    assert done.value == "A"
    assert done.confidence == pytest.approx(0.4)
    assert {each.option for each in done.outcome.answer.candidates} == {"A", "C"}, "both stay on record"
    assert any(
        isinstance(event, InfoEvent) and "kept the direct answer" in event.text for event in done.run.trace.events
    )


def test_the_proof_is_a_targeted_second_look_and_not_a_second_opinion(video: Video) -> None:
    done = search(video, [UNSURE, "search_clips blue square", "Answer: blue", YES], hits=1)
    last = done.calls[-1]
    assert all(40 <= time <= 50 for time in last.times)
    assert "Proposed answer: blue" in last.text
    assert "blue square turns" not in last.text, "captions are seen in the pictures, or not at all"


def test_what_is_said_cannot_be_seen_so_the_proof_quotes_it(video: Video) -> None:
    done = search(video, ["who knows", "read_subtitles 10 20", "Answer: Anna", YES], question=WHAT)
    assert done.value == "anna"
    assert "<data>\n12-14: my name is Anna\n</data>\nQuestion" in done.calls[-1].text
    assert done.run.usage.subtitles


def test_the_same_answer_needs_no_proof(video: Video) -> None:
    done = search(video, [sure("A", 0.4), "search_clips red star", "Answer: red"], hits=1)
    assert done.value == "A"
    assert done.confidence == pytest.approx(0.9), "the surer of the two"
    assert [(each.start, each.end) for each in done.outcome.answer.evidence] == [(0, 10)]
    assert done.outcome.answer.evidence[0].text == "a red star crosses the field"


def test_a_sure_direct_answer_is_the_end_where_that_is_wanted(video: Video) -> None:
    done = search(video, [sure("B", 0.98)], enough=0.95)
    assert (done.value, done.stopped, len(done.calls)) == ("B", "confident", 1)
    assert search(video, [sure("B", 1.0), "view 1 2", "Answer: green"]).frames[:2] == [8, 8], "else it never is"


def test_a_planner_may_plan_before_it_sees(video: Video) -> None:
    done = search(video, [UNSURE, "view 40 44", "Answer: red"], shown=False)
    assert done.frames == [8, 0, 8]


def test_later_pictures_may_stand_instead_of_the_first_look(video: Video) -> None:
    done = search(video, [UNSURE, "view 40 44", "Answer: red"], replace=True)
    assert done.frames == [8, 8, 8]
    assert min(done.calls[2].times) >= 40


def test_only_so_many_frames_of_earlier_calls_stay(video: Video) -> None:
    done = search(video, [UNSURE, "view 10 14", "view 20 24", "view 30 34", "Answer: red"], keep=8)
    assert done.frames == [8, 8, 16, 16, 16]
    assert all(30 <= time <= 34 for time in done.calls[4].times[8:])
    assert "view: 8 frames of 10-14" in words(done.calls[4].prompt[2]), "their words stay"


def test_several_calls_in_one_turn(video: Video) -> None:
    both = calls(call("view", "1", start=10, end=14), call("view", "2", start=20, end=24))
    done = search(video, [UNSURE, both, call("submit", answer="red")], capabilities=NATIVE)
    assert [event.tool for event in used(done)] == ["view", "view", "submit"]
    roles = [message.role for message in done.calls[2].prompt]
    assert roles == ["user", "assistant", "tool", "tool", "user"], "all results follow the calls at once"


def test_more_calls_than_allowed_are_answered_and_not_carried_out(video: Video) -> None:
    many = calls(*(call("view", str(i), start=5 * i, end=5 * i + 2) for i in range(6)))
    done = search(video, [UNSURE, many, call("submit", answer="red")], capabilities=NATIVE, calls=2)
    assert [event.tool for event in used(done)] == ["view", "view", "submit"]
    tools = [message for message in done.calls[2].prompt if message.role == "tool"]
    assert len(tools) == 6
    assert "too many calls" in words(tools[-1])


def test_a_zoom_shows_a_part(video: Video) -> None:
    done = search(video, [UNSURE, "zoom 12 0.5 0 1 0.5", "Answer: blue", YES])
    (zoomed,) = used(done)
    assert zoomed.times == (12.0,)
    assert heard(done, 2).startswith("zoom: part of the frame at 12")
    assert done.calls[-1].times == (12.0,), "the proof shows the same part: in the whole picture it is too small"
    part = pictures_of(done.calls[-1].prompt)[0].frame
    assert (part.width, part.height) != (64, 48)


def test_a_model_that_was_trained_on_the_tools_is_told_no_more_than_it_needs(video: Video) -> None:
    done = search(video, [UNSURE, "search_clips blue", "view 40 44", "Answer: red"], protocol="terse", hits=1)
    first = words(done.calls[1].prompt[0])
    assert first == (
        "\nQuestion: Which colour?\nA. red\nB. green\nC. blue\nD. grey\nFilm: 0 to 64 s\n"
        "search_clips QUERY\nread_subtitles START END\nview START END\nzoom TIME BOX\nask START END QUESTION"
    )
    assert heard(done, 2) == "<data>\n40-50: a blue square turns\n</data>"
    assert heard(done, 3) == "", "pictures alone"


def test_the_question_is_told_again_after_each_result_with_the_turns_that_are_left(video: Video) -> None:
    done = search(video, [UNSURE, "view 1 3", "view 5 7", "Answer: red"], rounds=8)
    assert "7 turns left. Question: Which colour?" in heard(done, 2)
    assert "6 turns left." in heard(done, 3)


def test_messages_are_only_appended_so_that_the_prefix_is_read_once(video: Video) -> None:
    done = search(video, [UNSURE, "view 1 3", "view 5 7", "search_clips star", "Answer: red"])
    prompts: list[tuple[Message, ...]] = [each.prompt for each in done.calls[1:]]
    for earlier, later in itertools.pairwise(prompts):
        assert later[: len(earlier)] == earlier


def test_writing_is_read_where_something_reads_it(video: Video) -> None:
    class Sign:
        def read(self, _: Frame) -> list[RecognizedText]:
            return [RecognizedText("EXIT", 0.9)]

    engine = ScriptedEngine([UNSURE, "ocr 0 8", "Answer: red"])
    run = Run(COLOURS, video, engine, text_reader=Sign())
    planner = Catalogue.load().resolve({"name": "planner", "tools": ["ocr", "submit"]})
    asyncio.run(run_strategy(planner, run))
    assert "0.5-6.5: EXIT" in heard_by(engine)


def heard_by(engine: ScriptedEngine) -> str:
    return words(engine.calls[-1].prompt[-1])


def test_how_a_model_calls_can_be_asked_for(video: Video) -> None:
    done = search(video, [UNSURE, "view 1 3", "Answer: red"], capabilities=NATIVE, protocol="lines")
    assert not done.calls[1].sampling.tools
    assert [event.tool for event in used(done)] == ["view"]
    done = search(video, [UNSURE, "view 1 3", "Answer: red"], protocol="native")
    assert any("cannot call tools by the protocol native" in reason for reason in done.run.usage.degraded)


def test_a_very_small_model_is_taken_to_know_the_tools(video: Video) -> None:
    script = [dict(zip(COLOURS.options, UNSURE.values(), strict=True)), "view 1 3", "Answer: red"]
    done = search(video, script, capabilities=NATIVE, answer_format="text")
    assert not done.calls[1].sampling.tools
    assert "Find the seconds" not in done.calls[1].text
