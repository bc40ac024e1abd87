"""What is read while the model writes: the same words as afterwards, and nothing else is changed by it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from agents.core.question import Question
from agents.core.run import Run
from agents.core.runner import run_strategy
from agents.core.trace import Delta
from agents.engines.scripted import ScriptedEngine
from agents.parsing.answers import stable_answer, stated_answer
from agents.presets import Catalogue
from agents.prompts.questions import AnswerStyle
from tests.agents.stage import COLOURS, DESCRIBE
from tools.video.video import Video

REPLIES = (
    "A red star.\n\nThen:\n- a **blue** circle. ",
    "<think>hm, red</think>A star <thin line.",
    "First I see red.\nAnswer: A red star.\nAnswer: two",
    "I see red.\n**Answer:** \n **A** star",
    "Answer: a star\n\nanswering is fun",
    "<think>a\nAnswer: b</think>\nAnswers vary",
    "Ans",
    "<think>never closed",
    "!!!",
)


@pytest.mark.parametrize("style", ["direct", "think"])
@pytest.mark.parametrize("text", REPLIES)
def test_what_is_shown_early_is_how_the_answer_begins(text: str, style: AnswerStyle) -> None:
    shown = [stable_answer(text[:end], style) for end in range(len(text) + 1)]
    whole = stated_answer(DESCRIBE, text, style)
    assert all(later.startswith(before) for before, later in zip(shown, [*shown[1:], whole], strict=True))


def test_an_answer_is_shown_word_by_word() -> None:
    text = "I see red.\nAnswer: a red star"
    assert [stable_answer(text[:end], "think") for end in (18, 20, 21, 24, 29)] == ["", "a", "a", "a red", "a red star"]
    assert [stable_answer("A red star"[:end], "direct") for end in (1, 2, 5)] == ["", "A", "A red"]


def test_what_is_said_before_an_answer_is_part_of_it_where_no_thinking_was_asked_for() -> None:
    said = "The sign reads:\nAnswer: 42"
    assert stated_answer(DESCRIBE, said, "direct") == said
    assert stated_answer(DESCRIBE, said, "think") == "42"
    assert stated_answer(DESCRIBE, "Answer: 42", "direct") == "42"


class Counting(ScriptedEngine):
    """Says what it was asked: the seed, so that nothing is the same by chance."""

    def __init__(self) -> None:
        super().__init__(lambda _p, sampling, n: [f"I see {sampling.seed} and {at}.\nAnswer: B" for at in range(n)])


def facts(run: Run) -> list[Mapping[str, Any]]:
    """What happened; calls made side by side end in any order."""
    told = [each.model_dump(exclude={"at", "seconds"}) for each in run.trace.events]
    return sorted(told, key=lambda each: (each["event"] == "asked", each.get("call", 0)))


@pytest.mark.parametrize(
    ("spec", "question"),
    [
        ("direct", DESCRIBE),
        ("chain_of_thought", DESCRIBE),
        ("chain_of_thought", COLOURS),
        ({"name": "self_consistency", "samples": 3, "frames": 2}, COLOURS),
        ({"name": "best_of_n", "samples": 1}, COLOURS),
        ("planner", COLOURS),
    ],
)
def test_reading_along_changes_nothing(video: Video, spec: Any, question: Question) -> None:
    runs, read = [], list[Delta]()
    for follower in (None, read.append):
        engine = Counting()
        run = Run(question, video, engine, seed=7, on_delta=follower)
        outcome = asyncio.run(run_strategy(Catalogue.load().resolve(spec), run))
        asked = [(call.sampling, call.n, call.text, call.times) for call in engine.calls]
        spent = (run.usage.prompt_tokens, run.usage.completion_tokens, run.usage.calls, run.usage.degraded)
        runs.append((outcome, facts(run), asked, spent))
    assert runs[0] == runs[1]
    replies = {event["call"]: event["replies"] for event in runs[1][1] if event["event"] == "asked"}
    heard = {each.call for each in read}
    assert heard and heard <= replies.keys()
    for call in heard:
        said = "".join(each.text for each in read if each.call == call and each.part == "reply")
        assert (said,) == replies[call]


def test_one_call_is_read_at_a_time(video: Video) -> None:
    read: list[Delta] = []
    engine = Counting()
    engine.word_pause = 0.001
    run = Run(COLOURS, video, engine, on_delta=read.append)
    asyncio.run(run_strategy(Catalogue.load().resolve({"name": "self_consistency", "samples": 4, "frames": 2}), run))
    calls = [each.call for each in read]
    assert calls == sorted(calls)
    assert run.usage.calls == 4 and len(set(calls)) < 4


def test_the_answer_of_a_single_call_is_told_as_such(video: Video) -> None:
    for spec, reply in (("direct", "A red star."), ("chain_of_thought", "I see red.\nAnswer: A red star.")):
        read: list[Delta] = []
        run = Run(DESCRIBE, video, ScriptedEngine([reply]), on_delta=read.append)
        outcome = asyncio.run(run_strategy(Catalogue.load().resolve(spec), run))
        told = [each.text for each in read if each.part == "answer"]
        assert "".join(told) == run.display(outcome.answer.value or "") == "A red star."
        assert len(told) > 1
