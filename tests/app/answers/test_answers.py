"""Answers on the wire: what they look like, what of the request they honour, and the steps of a search."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from io import StringIO
from pathlib import Path
from threading import Event
from typing import Any

import anyio.to_thread
import pytest
from rich.console import Console

from agents.core.trace import ToolEvent
from agents.engines.scripted import ScriptedEngine
from app.answers.schemas import AnswerResponse
from app.cli.terminal import describe, show_answer
from app.settings import Settings
from tests.app.conftest import always, body, over_asgi, over_socket
from tests.app.test_sse import events

pytestmark = pytest.mark.anyio


async def answer(settings: Settings, engine: ScriptedEngine, request: dict[str, Any]) -> dict[str, Any]:
    async with over_asgi(settings, engine) as client:
        response = await client.post("/v1/answers", json=request)
    assert response.status_code == 200, response.text
    found: dict[str, Any] = response.json()
    return found


async def test_an_answer_comes_with_confidence_and_a_whole_bill(
    settings: Settings, engine: ScriptedEngine, video_path: Path
) -> None:
    found = await answer(settings, engine, body(video_path, strategy={"name": "direct", "frames": 4}))
    report = found.pop("report")
    seconds = report.pop("seconds")
    assert found.pop("id").startswith("run_")
    assert found == {
        "answer": "red",
        "option": "A",
        "confidence": 0.97,
        "candidates": [
            {"answer": "red", "option": "A", "share": 0.97, "confidence": 0.97},
            {"answer": "green", "option": "B", "share": 0.01, "confidence": 0.01},
            {"answer": "blue", "option": "C", "share": 0.01, "confidence": 0.01},
            {"answer": "grey", "option": "D", "share": 0.01, "confidence": 0.01},
        ],
        "evidence": [],
        "structured": None,
    }
    prompt_tokens = report.pop("prompt_tokens")
    assert prompt_tokens > 4 * engine.frame_tokens(engine.side)
    (times,) = report.pop("frame_times")
    assert times == pytest.approx([8, 24, 40, 56], abs=8)
    assert report == {
        "strategy": {"name": "direct", "frames": 4, "rotations": 1},
        "model": "scripted",
        "seed": 0,
        "frames_viewed": 4,
        "frames_unique": 4,
        "calls": 1,
        "rounds": 0,
        "samples": 1,
        "tool_calls": 0,
        "cached_tokens": 0,
        "completion_tokens": 1,
        "subtitles": False,
        "captions": None,
        "stopped": "complete",
        "degraded": [],
    }
    assert set(seconds) == {"fetch", "decode", "model", "total"}
    assert 0 < seconds["fetch"] + seconds["decode"] <= seconds["total"]


async def test_the_default_strategy_is_a_preset_and_the_report_says_so(
    settings: Settings, engine: ScriptedEngine, video_path: Path
) -> None:
    request = body(video_path)
    del request["strategy"]
    report = (await answer(settings, engine, request))["report"]
    assert report["strategy"]["preset"] == "auto"
    assert report["strategy"]["name"] == "escalate"
    assert report["strategy"]["confidence"] == 0.97
    assert report["stopped"] == "confident"


@pytest.mark.parametrize(
    ("kind", "said", "value"),
    [("text", "A red Star.", "A red Star."), ("number", "There are three.", "3"), ("yesno", "Yes, it is.", "yes")],
)
async def test_questions_without_options(
    settings: Settings, video_path: Path, kind: str, said: str, value: str
) -> None:
    engine = ScriptedEngine(lambda _, sampling, n: [{"yes": 0.8, "no": 0.2} if sampling.choices else said] * n)
    found = await answer(settings, engine, body(video_path, options=[], kind=kind))
    assert (found["answer"], found["option"]) == (value, None)


async def test_the_same_seed_looks_at_the_same_frames(
    settings: Settings, engine: ScriptedEngine, video_path: Path
) -> None:
    spec = {"name": "self_consistency", "samples": 2, "frames": 4, "diversity": "frames"}
    looks = [
        (await answer(settings, engine, body(video_path, strategy=spec, seed=seed)))["report"]["frame_times"]
        for seed in (1, 1, 2)
    ]
    assert looks[0] == looks[1] != looks[2]


async def test_only_the_span_is_looked_at(settings: Settings, engine: ScriptedEngine, video_path: Path) -> None:
    report = (await answer(settings, engine, body(video_path, start=10, end=20)))["report"]
    assert all(10 <= time <= 20 for time in report["frame_times"][0])
    assert report["degraded"] == []


async def test_an_end_after_the_end_of_the_video_is_told(
    settings: Settings, engine: ScriptedEngine, video_path: Path
) -> None:
    report = (await answer(settings, engine, body(video_path, start=60, end=90)))["report"]
    assert report["degraded"] == ["end: the video is over after 64.000 s, before 90 s"]


async def test_a_model_that_says_nothing_readable_gives_no_answer(settings: Settings, video_path: Path) -> None:
    engine = ScriptedEngine(lambda _prompt, _sampling, n: ["who knows"] * n, capabilities=frozenset())
    found = await answer(settings, engine, body(video_path))
    assert (found["answer"], found["confidence"], found["report"]["stopped"]) == (None, None, "unparsed")
    assert found["report"]["degraded"]


@pytest.mark.parametrize("resource", ["frames", "tokens", "calls", "seconds"])
async def test_a_budget_above_the_cap_is_cut_and_the_cut_is_told(
    settings: Settings, engine: ScriptedEngine, video_path: Path, resource: str
) -> None:
    capped = settings.model_copy(update={f"max_{resource}": 1000})
    report = (await answer(capped, engine, body(video_path, budget={resource: 2000})))["report"]
    assert report["degraded"] == [f"budget: this service allows 1000 {resource}, not 2000"]


async def test_the_cap_on_frames_holds(settings: Settings, engine: ScriptedEngine, video_path: Path) -> None:
    report = (await answer(settings.model_copy(update={"max_frames": 3}), engine, body(video_path)))["report"]
    assert report["frames_viewed"] == 3
    assert report["degraded"] == ["budget: shown 3 of 32 frames"]


async def test_the_cap_on_tokens_holds(settings: Settings, engine: ScriptedEngine, video_path: Path) -> None:
    report = (await answer(settings.model_copy(update={"max_tokens": 500}), engine, body(video_path)))["report"]
    assert report["prompt_tokens"] + report["completion_tokens"] <= 500
    assert report["frames_viewed"] < 32


async def test_the_cap_on_calls_holds(settings: Settings, video_path: Path) -> None:
    capped = settings.model_copy(update={"max_calls": 1})
    found = await answer(capped, ScriptedEngine(always("A", 0.5)), body(video_path, strategy="until_confident"))
    assert (found["answer"], found["report"]["calls"], found["report"]["stopped"]) == ("red", 1, "budget")


async def test_the_cap_on_seconds_holds(settings: Settings, video_path: Path) -> None:
    slow = ScriptedEngine(always("A"), pause=30)
    found = await answer(settings.model_copy(update={"max_seconds": 0.2}), slow, body(video_path))
    assert (found["answer"], found["report"]["stopped"]) == (None, "budget")
    assert slow.cancelled == len(slow.calls)
    assert 0.2 <= found["report"]["seconds"]["total"] < 20


async def test_options_keep_their_words(settings: Settings, engine: ScriptedEngine, video_path: Path) -> None:
    found = await answer(settings, engine, body(video_path, options=["  two words ", "one"]))
    assert found["answer"] == "two words"


@pytest.mark.parametrize(
    ("strategy", "frames"),
    [
        ("direct", 5),
        ("self_consistency", 5),
        ({"name": "direct", "frames": 3}, 3),
        ("planner", 8),  # a first look, to be followed by others
        ("videoauto_r1", None),  # a paper's numbers are the paper's
    ],
)
async def test_a_model_sees_as_many_frames_as_it_is_at_ease_with(
    settings: Settings, video_path: Path, strategy: Any, frames: int | None
) -> None:
    engine = ScriptedEngine(always("A"), frames=5)
    report = (await answer(settings, engine, body(video_path, strategy=strategy)))["report"]
    assert report["strategy"].get("frames") == frames
    assert len(report["frame_times"][0]) == (frames or 32)


async def test_a_question_about_what_is_at_hand_waits_for_no_thread(
    settings: Settings, engine: ScriptedEngine, video_path: Path
) -> None:
    """Threads are for decoding and for the disk; waiting for one costs more than such an answer."""
    async with over_asgi(settings, engine) as client:
        first = (await client.post("/v1/answers", json=body(video_path))).json()
        release, loop = Event(), asyncio.get_running_loop()
        loop.set_default_executor(ThreadPoolExecutor(1))
        blocked = loop.run_in_executor(None, release.wait)
        limiter = anyio.to_thread.current_default_thread_limiter()
        before, limiter.total_tokens = limiter.total_tokens, 0
        try:
            async with asyncio.timeout(5):
                again = (await client.post("/v1/answers", json=body(video_path))).json()
        finally:
            limiter.total_tokens = before
            release.set()
            await blocked
    assert again["answer"] == first["answer"]
    assert again["report"]["frame_times"] == first["report"]["frame_times"]


DIRECT = {"red": 0.4, "green": 0.2, "blue": 0.2, "grey": 0.2}
SEEN = dict(zip("ABCD", DIRECT.values(), strict=True))


async def test_each_step_is_an_event_with_the_seconds_of_its_thumbnails(settings: Settings, video_path: Path) -> None:
    engine = ScriptedEngine([SEEN, "view 40 44", "Answer: blue", {"yes": 0.9, "no": 0.1}])
    async with (
        over_socket(settings, engine) as client,
        client.stream("POST", "/v1/answers", json=body(video_path, stream=True, strategy="planner")) as response,
    ):
        told = [event async for event in events(response)]
    used = [data for name, data in told if name == "used"]
    assert [(data["tool"], data["arguments"]) for data in used] == [("view", {"start": 40.0, "end": 44.0})]
    assert used[0]["times"] == [40.25, 40.75, 41.25, 41.75, 42.25, 42.75, 43.25, 43.75]
    answer = told[-1][1]
    assert (answer["answer"], answer["report"]["tool_calls"]) == ("blue", 1)
    assert answer["evidence"] == [{"start": 40.0, "end": 44.0, "text": "looked at"}]


async def test_a_request_may_choose_tools_and_stages(settings: Settings, video_path: Path) -> None:
    engine = ScriptedEngine([SEEN, "view 1 3", "Answer: red", SEEN, SEEN])
    stages = [{"do": "answer", "frames": 4}]
    async with over_asgi(settings, engine) as client:
        planned = await client.post(
            "/v1/answers", json=body(video_path, strategy={"name": "planner", "tools": ["view"]})
        )
        sat = await client.post("/v1/answers", json=body(video_path, strategy={"name": "committee", "stages": stages}))
        wrong = await client.post("/v1/answers", json=body(video_path, strategy={"name": "planner", "tools": ["dig"]}))
    assert (planned.status_code, sat.status_code, wrong.status_code) == (200, 200, 400)
    assert wrong.json()["error"]["param"] == "strategy.tools.0"


async def test_what_an_answer_stood_against_is_not_the_answer(settings: Settings, video_path: Path) -> None:
    sure = {"A": 0.9, "B": 0.05, "C": 0.03, "D": 0.02}
    engine = ScriptedEngine([sure, "view 40 44", "Answer: blue", {"yes": 0.6, "no": 0.4}])
    async with over_asgi(settings, engine) as client:
        response = await client.post("/v1/answers", json=body(video_path, strategy="planner"))
    answer = AnswerResponse.model_validate(response.json())
    assert (answer.answer, answer.candidates[0].answer) == ("blue", "red"), "the direct answer had the larger share"
    console = Console(width=100, record=True, file=StringIO())
    show_answer(console, answer)
    assert "instead of  red 60%" in console.export_text()


def test_a_call_is_one_line_on_a_terminal() -> None:
    found = ToolEvent(
        tool="search_clips",
        arguments={"query": "red star"},
        summary="2 lines",
        data=({"start": 840.0, "end": 850.0, "text": "a red star"},),
        seconds=0.1,
    )
    assert describe(found) == 'search_clips query="red star" → 2 lines: a red star'
    looked = ToolEvent(tool="view", arguments={"start": 1.0}, summary="2 frames of 1-2", times=(1.0, 1.5), seconds=0.1)
    assert describe(looked) == "view start=1.0 → 2 frames of 1-2, 2 frames from 1.0 to 1.5 s"
