"""Presets of planners keep what their papers say: the steps, their numbers, what ends them."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from random import Random
from typing import Any

import pytest

from agents.engines.base import Prompt, Reply, Sampling, pictures_of
from agents.engines.scripted import ScriptLine as Said
from tests.agents.planner.stage import KNOWN, NATIVE, NO, SLOTS, UNSURE, YES, call, calls, slot, used, words
from tests.agents.stage import Performance, play
from tests.tools.contexts import index_entry
from tools.index.entries import IndexEntry
from tools.index.index import Index
from tools.video.video import Video


def perform(video: Video, name: str, script: Any, capabilities: frozenset[str] = NATIVE, **more: Any) -> Performance:
    return play(video, {"name": name, **more}, script, capabilities=capabilities, index=Index(video.span.end, KNOWN))


def tools(done: Performance) -> list[str]:
    return [event.tool for event in used(done)]


def offered(done: Performance) -> list[list[str]]:
    """What the planner could call, turn by turn."""
    turns = [each for each in done.calls[1:] if each.sampling.tools]
    return [[tool.name for tool in each.sampling.tools] for each in turns]


# DeepVideoDiscovery


def test_dvd_browses_searches_asks_and_submits(video: Video) -> None:
    browsed = '{"summary": "shapes", "subjects": ["a red star"], "events": [{"start": 0, "end": 10, "text": "a star"}]}'
    told = '{"found": "yes", "answer": "it is blue", "evidence": []}'
    script = [
        *(UNSURE, call("overview", query="shapes"), browsed, call("search_clips", query="blue square")),
        *(call("ask", start=30, end=64, question="Which colour?"), told, call("submit", answer="blue"), YES),
    ]
    done = perform(video, "dvd", script, NATIVE | SLOTS)
    assert tools(done) == ["overview", "search_clips", "ask", "submit"]
    assert done.value == "C"
    planning = [each for each in done.calls if each.sampling.tools]
    assert [each.frames for each in planning] == [0, 0, 0, 0], "the planner reads; it never looks"
    assert "takes part: a red star" in words(planning[1].prompt[-1]), "who takes part is in the browsing's result"
    hits = [(fact["start"], fact["end"]) for fact in used(done)[1].data]
    assert hits == sorted(hits), "in order of time, from when to when"
    assert next(each.frames for each in done.calls if "These frames are from 30" in each.text) == 50


def test_dvd_is_told_to_finish_only_in_its_last_turn(video: Video) -> None:
    def always(_: Prompt, sampling: Sampling, n: int) -> list[Said]:
        if sampling.choices:
            return [NO if len(sampling.choices) == 2 else UNSURE] * n
        return [call("search_clips", query=next(queries), top_k=1)] * n

    queries = iter(["red star", "grey field", "blue square"] * 9)
    done = perform(video, "dvd", always, rounds=4)
    assert ["No turns are left" in each.text for each in done.calls[1:5]] == [False, False, False, True]
    assert not done.calls[4].sampling.tools
    assert done.calls[4].sampling.choices


# VideoDeepResearch


def test_video_deep_research_runs_all_calls_of_a_turn_once(video: Video) -> None:
    told = '{"found": "yes", "answer": "blue", "evidence": []}'
    turn = calls(
        call("search_clips", "1", query="blue square"),
        call("search_clips", "2", query="red star"),
        call("ask", "3", start=40, end=50, question="Which colour?"),
        call("ask", "4", start=0, end=10, question="Which colour?"),
        call("ask", "5", start=40, end=50, question="which  colour?"),
        call("submit", "6", answer="red"),
    )
    done = perform(
        video, "video_deep_research", [UNSURE, turn, told, told, call("submit", answer="blue"), YES], NATIVE | SLOTS
    )
    assert tools(done) == ["search_clips", "search_clips", "ask", "ask", "submit", "submit"], "the same twice is one"
    assert done.value == "C", "the answer beside calls did not count"


def test_video_deep_research_finds_5_clips_and_30_subtitles_where_no_number_is_named(video: Video) -> None:
    captions = [line_at(at, "a star") for at in range(0, 60, 5)]
    spoken = [line_at(at, "star", "subtitle") for at in range(60)]
    both = calls(call("search_clips", "1", query="caption star"), call("search_subtitles", "2", query="star"))
    script: list[Said] = [UNSURE, both, call("submit", answer="red")]
    index = Index(video.span.end, [*captions, *spoken])
    done = play(video, "video_deep_research", script, capabilities=NATIVE, index=index)
    assert len(used(done)[0].data) == 5
    prompt = done.calls[2].prompt
    assert "30 lines" in words(prompt[3])


def line_at(at: int, text: str, source: str = "caption") -> IndexEntry:
    """A line that is unlike its neighbours: the search leaves out what only repeats."""
    random = Random(at)
    noise = " ".join("".join(random.choices("abcdefghijklmnopqrstuvwxyz", k=7)) for _ in range(4))
    return index_entry(at, at + 1, f"{text} {noise}", source, level=5.0)


def test_video_deep_research_is_told_the_turns_that_are_really_left(video: Video) -> None:
    views = [call("search_clips", query=query) for query in ("blue", "red star")]
    done = perform(video, "video_deep_research", [UNSURE, *views, call("submit", answer="red")])
    assert "19 turns left" in words(done.calls[2].prompt[-1])
    assert "18 turns left" in words(done.calls[3].prompt[-1])


# Ego-R1


def test_ego_r1_looks_up_one_entry_asks_and_answers_afresh(video: Video) -> None:
    told = '{"found": "yes", "answer": "blue", "evidence": []}'
    script = [
        UNSURE,
        call("search_clips", query="blue square"),
        call("ask", start=42, end=43, question="What?", frames=1),
    ]
    done = perform(video, "ego_r1", [*script, told, call("submit", answer="red"), sure_of("C"), YES], NATIVE | SLOTS)
    assert len(used(done)[0].data) == 1
    assert next(each.frames for each in done.calls if "These frames are from" in each.text) == 1
    assert done.calls[5].sampling.choices == ("A", "B", "C", "D"), "the last pass is held to the options"
    assert done.value == "C"
    assert done.calls[1].sampling.temperature == 0.6


def sure_of(letter: str) -> dict[str, float]:
    return {each: 0.7 if each == letter else 0.1 for each in "ABCD"}


# All that look themselves

LOOKS: dict[str, tuple[int, int]] = {  # most frames of the first look of 64 seconds, turns
    "vital": (64, 3),
    "videozoomer": (32, 5),
    "longvt": (64, 6),
    "framethinker": (8, 5),
    "pixel_reasoner": (16, 5),
    "eva": (0, 6),
    "video_mtr": (16, 3),
    "revisor": (64, 2),
    "videotemp_o3_like": (256, 4),
}


def restless() -> Iterator[Reply]:
    """Calls of views that are all different."""
    for turn in count():
        start = 3 * turn % 50
        yield call("view", str(turn), start=start, end=start + 6 + turn // 10, frames=8)


@pytest.mark.parametrize("name", LOOKS)
def test_after_the_last_turn_there_is_no_call(name: str, video: Video) -> None:
    views = restless()

    def model(_: Prompt, sampling: Sampling, n: int) -> list[Said]:
        if sampling.choices:
            return [NO if len(sampling.choices) == 2 else UNSURE] * n
        return [next(views)] * n

    done = perform(video, name, model)
    frames, turns = LOOKS[name]
    assert len(offered(done)) == turns - 1, "in the last turn tools are gone"
    assert tools(done) == ["view"] * (turns - 1)
    assert done.calls[1].frames == frames
    assert all("view" in names for names in offered(done))


@pytest.mark.parametrize("name", LOOKS)
def test_every_picture_carries_its_second(name: str, video: Video) -> None:
    done = perform(video, name, [UNSURE, call("view", start=10, end=20, frames=8), call("submit", answer="red")])
    shown = [picture.time for picture in pictures_of(done.calls[2].prompt)][-8:]
    assert all(10 <= time <= 20 for time in shown)
    assert shown == sorted(shown)


# What is particular


def test_videozoomer_refuses_more_than_16_frames(video: Video) -> None:
    views = [call("view", start=0, end=20, fps=1), call("view", start=0, end=16, fps=1)]
    done = perform(video, "videozoomer", [UNSURE, *views, call("submit", answer="red")])
    assert [event.error for event in used(done)] == ["too_many_frames", None, None]
    assert "16 s at 1 a second" in words(done.calls[2].prompt[2])
    assert len(used(done)[1].times) == 16


def test_longvt_crops_at_one_frame_a_second(video: Video) -> None:
    done = perform(video, "longvt", [UNSURE, call("view", start=10, end=40), call("submit", answer="red")])
    assert len(used(done)[0].times) == 30


def test_vital_looks_twice_a_second_at_64_frames_at_most(video: Video) -> None:
    views = [call("view", start=10, end=20), call("view", start=0, end=60)]
    done = perform(video, "vital", [UNSURE, *views, UNSURE])
    assert [len(event.times) for event in used(done)] == [20, 64]


def test_framethinker_refuses_a_repeated_range_and_one_that_is_too_short(video: Video) -> None:
    views = [call("view", start=10, end=20), call("view", start=10, end=20), call("view", start=10, end=11)]
    done = perform(video, "framethinker", [UNSURE, *views, call("submit", answer="red")])
    assert [len(event.times) for event in used(done)] == [8, 0, 0], "always 8 frames, or none"
    assert "You have seen this already" in words(done.calls[3].prompt[5])
    assert used(done)[1].error == "too_short"


def test_pixel_reasoner_shows_single_frames_and_parts_of_them(video: Video) -> None:
    views = [call("view", times=[4, 8, 12]), call("zoom", time=8, box=[0, 0, 0.5, 0.5])]
    done = perform(video, "pixel_reasoner", [UNSURE, *views, call("submit", answer="red")])
    assert [event.times for event in used(done)] == [(4.0, 8.0, 12.0), (8.0,), ()]
    many = call("view", times=list(range(20)))
    assert len(used(perform(video, "pixel_reasoner", [UNSURE, many, call("submit", answer="red")]))[0].times) == 8


def test_eva_plans_before_it_sees_and_shrinks_what_is_too_much(video: Video) -> None:
    done = perform(video, "eva", [UNSURE, call("view", start=0, end=64, frames=200), call("submit", answer="red")])
    assert done.calls[1].frames == 0
    assert len(used(done)[0].times) == 200
    small = perform(
        video,
        "eva",
        [UNSURE, call("view", start=0, end=64, frames=200), call("submit", answer="red")],
        view_tokens=1600,
    )
    assert len(used(small)[0].times) == 100, "16 tokens a frame here, and no smaller size"
    assert "Question: Which colour?" in words(done.calls[2].prompt[-1]), "the question is told again"


def test_revisor_looks_again_instead_of_on(video: Video) -> None:
    done = perform(video, "revisor", [UNSURE, call("view", start=10, end=20), UNSURE])
    assert [each.frames for each in done.calls] == [64, 64, 20]
    assert perform(video, "revisor", [UNSURE, UNSURE], view_tokens=160, rounds=1).calls[0].frames == 10


def test_video_mtr_shows_at_most_8_frames_a_turn(video: Video) -> None:
    done = perform(video, "video_mtr", [UNSURE, call("view", start=10, end=20), call("submit", answer="red")])
    assert [each.frames for each in done.calls] == [16, 16, 24]


def test_in_slots_the_papers_arguments_can_be_given(video: Video) -> None:
    done = perform(
        video, "eva", [UNSURE, slot("view", start=0, end=8, frames=4, detail=0.5), slot("submit", answer="red")], SLOTS
    )
    assert len(used(done)[0].times) == 4
