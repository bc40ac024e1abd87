"""What goes wrong in a search, and what is made of it: an observation with a hint, never the end without an answer."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from pathlib import Path

import pytest

from agents.core.budget import Budget
from agents.core.run import Run
from agents.core.tools import ToolResult
from agents.core.trace import InfoEvent, ModelEvent
from agents.engines.base import EngineError, Prompt, Reply, Sampling, ToolCall
from agents.engines.scripted import Script, ScriptedEngine
from agents.engines.scripted import ScriptLine as Said
from agents.planner.calls import ParsedCall
from agents.planner.executor import ToolExecutor
from agents.planner.toolbox import Toolbox
from tests.agents.planner.stage import (
    KNOWN,
    NATIVE,
    NO,
    SLOTS,
    UNSURE,
    YES,
    call,
    calls,
    heard,
    repeat,
    search,
    slot,
    used,
    words,
)
from tests.agents.stage import COLOURS, Performance, sure
from tests.videos import VideoScript as Shooting
from tools.context import ViewLimits
from tools.index.index import Index
from tools.video.video import Video


def errors(done: Performance) -> list[str | None]:
    return [event.error for event in used(done)]


def notes(done: Performance) -> list[str]:
    return [event.text for event in done.run.trace.events if isinstance(event, InfoEvent)]


# Bad JSON, wrong types.


def test_nearly_json_is_mended(video: Video) -> None:
    nearly = Reply("", finish="calls", calls=(ToolCall("1", "view", "{'start': '0:40', \"end\": 44,}"),))
    done = search(video, [UNSURE, nearly, call("submit", answer="red")], capabilities=NATIVE)
    assert used(done)[0].arguments == {"start": 40.0, "end": 44.0}


def test_what_is_no_json_is_told_so(video: Video) -> None:
    broken = Reply("", finish="calls", calls=(ToolCall("1", "view", "soon"),))
    done = search(
        video, [UNSURE, broken, call("view", start=1, end=3), call("submit", answer="red")], capabilities=NATIVE
    )
    assert "no JSON object" in words(done.calls[2].prompt[2])
    assert done.value == "A"


def test_a_wrong_type_is_told_what_would_be_right(video: Video) -> None:
    done = search(video, [UNSURE, slot("view", start="soon", end=3), slot("submit", answer="red")], capabilities=SLOTS)
    assert "start: Input should be a valid number" in heard(done, 2)
    assert "view START END" in heard(done, 2)


def test_what_cannot_be_read_is_written_again_with_some_heat_and_not_for_ever(video: Video) -> None:
    done = search(video, repeat(UNSURE, "hm"), rounds=20)
    plans = [each for each in done.calls if not each.sampling.choices]
    assert [each.sampling.temperature for each in plans] == [0.0, 0.0, 0.7, 0.7, 0.7]
    assert done.value == "A", "then it must answer"


# Unknown tool, wrong argument.


def test_an_unknown_tool_is_told_which_there_are(video: Video) -> None:
    done = search(video, [UNSURE, call("teleport", to=3), call("submit", answer="red")], capabilities=NATIVE)
    told = words(done.calls[2].prompt[2])
    assert "There is no tool 'teleport'." in told
    assert "There are: search_clips, read_subtitles, view, zoom, ask, submit." in told
    assert notes(done) == ["not carried out: There is no tool 'teleport'."], "who follows the steps sees it too"


def test_a_wrong_argument_is_told_which_there_are_and_a_near_one_is_understood(video: Video) -> None:
    wrong, near = call("view", start=1, mood="sad"), call("view", start_time="0:01", end_time="3s", num_frames=2)
    done = search(video, [UNSURE, wrong, near, call("submit", answer="red")], capabilities=NATIVE)
    assert "view takes no 'mood'. It takes: start, end" in words(done.calls[2].prompt[2])
    assert len(used(done)[0].times) == 2


# Plain text instead of a call.


def test_plain_text_is_an_answer_only_if_it_states_one(video: Video) -> None:
    done = search(video, [UNSURE, "view 1 3", "I think I should look at the red star", "Answer: green", YES])
    assert "neither a call of a tool nor an answer" in heard(done, 3)
    assert done.value == "B"


# An answer beside a call.


def test_an_answer_beside_a_call_does_not_count(video: Video) -> None:
    both = calls(call("view", "1", start=1, end=3), call("submit", "2", answer="blue"))
    done = search(video, [UNSURE, both, call("submit", answer="red")], capabilities=NATIVE)
    assert done.value == "A"
    done = search(video, [UNSURE, "view 1 3\nAnswer: blue", "Answer: red"])
    assert done.value == "A"


# No tool is ever called.


def test_a_model_that_answers_before_it_looks_is_urged_once(video: Video) -> None:
    done = search(video, [UNSURE, "Answer: blue", "Answer: blue", NO])
    assert heard(done, 2) == "Look before you answer: call a tool."
    assert done.value == "A", "and without evidence it does not win"
    assert used(done) == []
    done = search(video, [UNSURE, call("submit", answer="blue"), call("submit", answer="blue")], capabilities=NATIVE)
    assert "Look before you answer" in heard(done, 2)
    assert done.value == "A"


# The same call again.


def test_the_same_call_again_is_told_so_and_three_times_end_the_search(video: Video) -> None:
    done = search(video, repeat(UNSURE, "view 10 14"), rounds=20)
    assert len(used(done)) == 1, "it is not carried out again"
    assert "You have seen this already." in heard(done, 3)
    assert notes(done) == ["not carried out: view as before"] * 3
    assert len(done.calls) == 6, "direct, the view, three times the same, the answer that must come"
    assert "No turns are left." in heard(done)


def test_nearly_the_same_range_is_the_same_and_a_denser_look_is_not(video: Video) -> None:
    done = search(video, [UNSURE, "view 10 14", "view 10.1 14.1", "view start=10 end=14 fps=4", "Answer: red"])
    assert [len(event.times) for event in used(done)] == [8, 16]


def test_the_same_words_in_other_letters_are_the_same(video: Video) -> None:
    done = search(video, [UNSURE, "search_clips Red  Star", "search_clips red star", "Answer: red"])
    assert len(used(done)) == 1


# One tool over and over.


def test_a_tool_that_brings_nothing_new_rests_for_a_turn(video: Video) -> None:
    fruitless = [call("search_clips", query=words, top_k=1) for words in ("blue", "blue square", "square", "a square")]
    done = search(
        video, [UNSURE, *fruitless, call("view", start=1, end=3), call("submit", answer="red")], capabilities=NATIVE
    )
    assert "This tool brings nothing new. Use another one" in words(done.calls[5].prompt[-2])
    offered = [[tool.name for tool in each.sampling.tools] for each in done.calls[1:7]]
    assert ["search_clips" in names for names in offered] == [True, True, True, True, False, True]


# Empty and weak results.


def test_nothing_found_is_looked_for_more_widely_and_it_is_said(video: Video) -> None:
    done = search(
        video,
        [UNSURE, slot("search_clips", query="blue square", start=0, end=9), slot("submit", answer="red")],
        capabilities=SLOTS,
    )
    assert "nothing_in_range" in used(done)[0].warnings
    assert "40-50: a blue square turns" in heard(done, 2)


def test_weak_hits_are_said_to_be_weak(video: Video) -> None:
    done = search(video, [UNSURE, "search_clips purple elephant", "Answer: red"])
    assert "all_hits_weak" in used(done)[0].warnings
    assert "all_hits_weak" in heard(done, 2)


def test_a_video_of_which_nothing_is_known_cannot_be_searched(video: Video) -> None:
    done = search(video, [UNSURE, "search_clips star", "view 1 3", "Answer: red"], known=False)
    assert errors(done) == ["no_index", None]
    assert "Look at it with another tool." in heard(done, 2)


def test_how_much_is_known_is_said(video: Video) -> None:
    assert "captions_cover_43%" in used(search(video, [UNSURE, "search_clips star", "Answer: red"]))[0].warnings


# Times that do not exist.


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("view 20 10", "swapped"),
        ("view -5 2", "clamped"),
        ("view 10 10", "widened"),
        ("view 80 96", "frame_numbers_converted"),
    ],
)
def test_times_that_do_not_exist_become_some_that_do(video: Video, asked: str, said: str) -> None:
    done = search(video, [UNSURE, asked, "Answer: red"])
    assert used(done)[0].warnings[0] == said
    assert said in heard(done, 2)


def test_times_after_the_end_are_told_the_end(video: Video) -> None:
    done = search(video, [UNSURE, "view 64.5 66", "view 1 3", "Answer: red"])
    assert "Seconds go from 0 to 64." in heard(done, 2)
    assert errors(done) == ["out_of_range", None]


def test_every_picture_says_its_own_second_also_where_the_rate_varies(tmp_path: Path) -> None:
    times = [40 * i for i in range(50)] + [10_000 + 500 * i for i in range(20)]
    uneven = Video.open(Shooting(".mp4", times=times).shoot(tmp_path))
    done = search(uneven, [UNSURE, "view 10 12", "Answer: red"], known=False)
    assert used(done)[0].times == (10.0, 10.5, 11.0, 11.5)


# More frames than allowed, more text than the model reads.


def test_too_many_frames_become_smaller_and_then_fewer_and_it_is_said(video: Video) -> None:
    done = search(video, [UNSURE, "view 0 60", "Answer: red"], view_tokens=40)
    assert used(done)[0].warnings == ("fewer_frames", "fewer_frames")
    assert len(used(done)[0].times) == 2


def test_or_they_are_refused_with_a_hint(video: Video) -> None:
    done = search(video, [UNSURE, "view start=0 end=20 fps=1", "view 0 8", "Answer: red"], over="refuse")
    assert errors(done) == ["too_many_frames", None]
    assert "Ask for at most 16" in heard(done, 2)


def test_the_oldest_pictures_go_when_the_model_can_read_no_more(video: Video) -> None:
    script = [UNSURE, "view 10 18", "view 20 28", "view 30 38", "Answer: red"]
    free = search(video, script)
    assert free.frames == [8, 8, 24, 40, 56]
    done = search(video, script, context=2450)
    assert done.frames[:4] == [8, 8, 24, 40]
    assert done.frames[4] == 40, "the first view's 16 are gone, the first look's 8 stay"
    assert done.calls[4].times[:8] == done.calls[1].times
    assert "view: 16 frames of 10-18" in words(done.calls[4].prompt[2])


def test_what_is_no_longer_shown_may_be_looked_at_again(video: Video) -> None:
    done = search(video, [UNSURE, "view 10 14", "view 20 24", "view 30 34", "view 10 14", "Answer: red"], keep=8)
    assert [event.arguments["start"] for event in used(done)] == [10, 20, 30, 10]


# Rounds, tokens, calls and seconds.


def test_in_the_last_turn_there_are_no_tools(video: Video) -> None:
    script = [UNSURE, call("view", start=1, end=3), call("view", start=5, end=7), sure("B", 0.7), YES]
    done = search(video, script, capabilities=NATIVE, rounds=3)
    assert [bool(each.sampling.tools) for each in done.calls] == [False, True, True, False, False]
    assert done.calls[3].sampling.choices == ("A", "B", "C", "D"), "held to the options, with their probabilities"
    assert (done.value, done.stopped) == ("B", "complete")


@pytest.mark.parametrize("limit", [Budget(calls=4), Budget(frames=60), Budget(tokens=8000)], ids=str)
def test_what_an_answer_takes_is_kept_back(video: Video, limit: Budget) -> None:
    def always(_: Prompt, sampling: Sampling, n: int) -> list[Said]:
        first = len(sampling.choices) == 4 and not seen
        seen.append(1)
        if sampling.choices == ("yes", "no"):
            return [YES] * n
        return [(UNSURE if first else sure("C", 0.8)) if sampling.choices else f"view {len(seen)} {len(seen) + 3}"] * n

    seen: list[int] = []
    done = search(video, always, budget=limit, rounds=50)
    assert done.stopped == "budget"
    assert any(event.purpose == "conclude" for event in done.run.trace.events if isinstance(event, ModelEvent))
    assert any("leave room for an answer" in reason for reason in done.run.usage.degraded)


def test_seconds_are_kept_back_too(video: Video) -> None:
    done = search(video, repeat(UNSURE, "hm"), rounds=50, pause=0.12, budget=Budget(seconds=0.5))
    assert done.stopped == "budget"
    assert done.value == "A"


# Tools that fail.


def trouble(prompt: Prompt, _: Sampling, n: int) -> list[Said]:
    """A model that answers, but fails when a tool asks it."""
    if "These frames are from" in words(prompt[0]):
        raise EngineError("out of memory")
    return ["red"] * n


def carry_out(video: Video, script: Script, *each: ParsedCall, patience: float = 60.0, pause: float = 0.0) -> Carried:
    """What comes of some calls, one after another."""
    engine = ScriptedEngine(script, pause=pause)
    run = Run(COLOURS, video, engine, index=lambda: Index(64.0, KNOWN))
    executor = ToolExecutor(run, Toolbox(("view", "ask", "search_clips", "submit")), ViewLimits(frames=8), patience)

    async def go() -> list[ToolResult]:
        return [await executor.do(one) for one in each]

    return Carried(asyncio.run(go()), executor, engine)


@dataclass
class Carried:
    """Results of some calls, who carried them out, and the engine."""

    results: list[ToolResult]
    executor: ToolExecutor
    engine: ScriptedEngine


def ask(start: float, question: str = "What is it?") -> ParsedCall:
    return ParsedCall("ask", {"start": start, "end": start + 8, "question": question})


def test_a_tool_that_fails_is_tried_once_more_on_half_the_frames(video: Video) -> None:
    done = carry_out(video, trouble, ask(0))
    assert done.engine.calls[0].frames == 8
    assert done.engine.calls[1].frames == 4
    assert done.results[0].observation.error is not None
    assert done.results[0].observation.summary == "The tool failed: out of memory Try less of the video at once."


def test_a_tool_that_fails_twice_is_not_offered_again(video: Video) -> None:
    done = carry_out(video, trouble, ask(0), ask(20), ask(40))
    assert "ask" not in done.executor.offered.names
    assert done.results[2].observation.summary.startswith("There is no tool 'ask'.")
    assert len(done.engine.calls) == 4


def test_a_tool_that_takes_too_long_is_left(video: Video) -> None:
    done = carry_out(video, trouble, ask(0), patience=0.3, pause=5.0)
    error = done.results[0].observation.error
    assert error is not None
    assert error.code == "slow"
    assert done.engine.cancelled == 2


def test_a_failing_tool_does_not_end_the_search(video: Video) -> None:
    def model(prompt: Prompt, sampling: Sampling, n: int) -> list[Said]:
        if sampling.choices:
            return [UNSURE] * n
        if "These frames are from" in words(prompt[0]):
            raise EngineError("out of memory")
        return ["Answer: red" if len(prompt) > 1 else "ask 0 8 What is it?"] * n

    done = search(video, model)
    assert (done.value, done.stopped) == ("A", "complete")
    assert errors(done) == ["failed", "failed"]


def test_an_engine_that_is_gone_ends_it_with_the_direct_answer(video: Video) -> None:
    done = search(video, [UNSURE, "view 1 3"])
    assert (done.value, done.stopped) == ("A", "engine")


# Refusals, replies that were cut off.


def test_a_refusal_is_told_and_is_no_finding(video: Video) -> None:
    done = search(video, [UNSURE, "ask 0 8 Who is it?", "I'm sorry, I cannot help with that.", "Answer: red"])
    assert errors(done) == ["refused"]
    assert "Ask in other words" in heard(done)
    assert done.outcome.answer.evidence == ()


def test_half_a_call_is_no_call(video: Video) -> None:
    done = search(video, [UNSURE, Reply("view 10 1", finish="length"), "view 10 14", "Answer: red"])
    assert "Your reply was cut off. Reply with the call alone." in heard(done, 2)
    assert [event.arguments["end"] for event in used(done)] == [14]


# Someone who sees nothing and answers all the same.


def test_what_is_not_visible_proves_nothing(video: Video) -> None:
    told = '{"found": "no", "answer": "a blue car", "evidence": [{"start": 1, "end": 2, "text": "a car"}]}'
    done = search(
        video,
        [UNSURE, slot("ask", start=0, end=8, question="Which car?"), told, slot("submit", answer="blue")],
        capabilities=SLOTS,
    )
    assert "found: no" in heard(done)
    assert "nothing_visible" in used(done)[0].warnings
    assert done.value == "A", "there is no evidence, so the direct answer stays"


def test_evidence_outside_of_what_was_shown_is_dropped(video: Video) -> None:
    proofs = [{"start": 50, "end": 52, "text": "x"}, {"start": 4, "end": 60, "text": "y"}]
    told = json.dumps({"found": "yes", "answer": "blue", "evidence": proofs})
    done = search(
        video,
        [UNSURE, slot("ask", start=0, end=8, question="Which?"), told, slot("submit", answer="blue"), YES],
        capabilities=SLOTS,
    )
    assert [(fact["start"], fact["end"], fact["text"]) for fact in used(done)[0].data] == [(4, 8, "y"), (0, 8, "blue")]


# Evidence that contradicts itself.


def test_a_conflict_is_looked_at_again_and_both_sides_stay(video: Video) -> None:
    script: list[Said] = [
        UNSURE,
        "ask 0 8 Which colour?",
        "It is red",
        "ask 40 48 Which colour?",
        "It is blue",
        "Answer: blue",
    ]
    done = search(video, [*script, {"yes": 0.6, "no": 0.4}])
    assert done.value == "C"
    assert {each.option: each.confidence for each in done.outcome.answer.candidates} == pytest.approx(
        {"C": 0.6, "A": 0.4}
    )
    assert all(40 <= time <= 48 for time in done.calls[-1].times), "a second look at the seconds in question"


# Fan-out.


def test_calls_of_one_reply_and_what_tools_spend_are_bounded_by_the_budget(video: Video) -> None:
    many = calls(*(call("ask", str(i), start=6 * i, end=6 * i + 5, question=f"What {i}?") for i in range(9)))

    def model(prompt: Prompt, sampling: Sampling, n: int) -> list[Said]:
        if sampling.choices:
            return [UNSURE] * n
        return [f"a shape {prompt[0].parts[0]}" if "These frames are from" in words(prompt[0]) else many] * n

    done = search(video, model, capabilities=NATIVE, budget=Budget(calls=5), rounds=50)
    assert (done.run.usage.calls, done.stopped, done.value) == (5, "budget", "A")
    assert errors(done) == [None, None, None, "budget"], "four of nine are carried out, for three there is room"


# Bias for a letter.


def test_options_may_be_rotated_where_the_direct_answer_is_asked_for(video: Video) -> None:
    done = search(video, [UNSURE, "view 1 3", "hm", sure("A", 0.9)], rounds=3)
    assert done.calls[-1].sampling.choices == ("A", "B", "C", "D"), "an answer that must come is held to the options"
    assert done.value == "A"


def test_no_letter_is_ever_invented(video: Video) -> None:
    done = search(video, repeat("nothing I know"), capabilities=frozenset(), rounds=3)
    assert (done.value, done.stopped) == (None, "unparsed")
