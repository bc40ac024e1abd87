"""What every program and every preset keeps, whatever the model says."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from random import Random

import pytest

from agents.core.budget import Budget
from agents.core.question import Question
from agents.engines.base import Prompt, Reply, Sampling
from agents.engines.scripted import ScriptLine
from agents.strategies import STRATEGIES
from tests.agents.stage import CATALOGUE, COLOURS, DESCRIBE, HOW_MANY, IS_IT, WHAT, play
from tools.video.video import Video

NAMES = CATALOGUE.names
AGENTS = frozenset({"planner", "investigate", "committee"})
ADVERSARIAL = (
    "",
    "?",
    "Answer:",
    "Answer: Z",
    "<think>" * 50,
    "\0",
    "A B C D",
    "Answer: A",
    "no",
    "7",
    "é" * 300,
)


@pytest.fixture(scope="module")
def video(video_path: Path) -> Video:
    return Video.open(video_path)


def obliging(_: Prompt, sampling: Sampling, n: int) -> Iterable[ScriptLine]:
    """A model that answers whatever it is asked, unsure of it."""
    if sampling.choices:
        return [{choice: 1 / len(sampling.choices) for choice in sampling.choices}] * n
    return ["Answer: A"] * n


def hostile(_: Prompt, sampling: Sampling, n: int) -> Iterable[ScriptLine]:
    """A model that writes nonsense, of which some happens to be an answer."""
    random = Random(sampling.seed or 0)
    if sampling.choices:
        weights = [random.random() for _ in sampling.choices]
        return [{choice: w / sum(weights) for choice, w in zip(sampling.choices, weights, strict=True)}] * n
    return [Reply(random.choice(ADVERSARIAL)) for _ in range(n)]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("question", [COLOURS, HOW_MANY, IS_IT, WHAT, DESCRIBE], ids=lambda question: question.kind)
def test_answers_every_kind_of_question_with_defaults(name: str, question: Question, video: Video) -> None:
    reply = {"choice": "A", "number": "3", "yesno": "yes", "text": "a star", "open": "A star.\nOn white."}[
        question.kind
    ]

    def model(prompt: Prompt, sampling: Sampling, n: int) -> Iterable[ScriptLine]:
        return obliging(prompt, sampling, n) if sampling.choices else [f"Answer: {reply}"] * n

    done = play(video, name, model, question=question)
    assert done.value is not None
    assert done.run.usage.calls == len(done.calls) >= 1
    assert done.calls[0].frames > 0, "a video is never silently dropped"
    reading = CATALOGUE.resolve(name).name in AGENTS  # what they read was found in the video
    assert reading or all(call.frames > 0 for call in done.calls)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "budget",
    [Budget(frames=7, calls=2), Budget(tokens=1500), Budget(calls=1), Budget(frames=1, tokens=900)],
    ids=str,
)
@pytest.mark.parametrize("model", [obliging, hostile])
def test_never_overspends_yet_still_answers(name: str, budget: Budget, model, video: Video) -> None:  # type: ignore[no-untyped-def]
    for seed in range(5 if model is hostile else 1):  # the other says the same every time
        done = play(video, name, model, budget=budget, seed=seed)
        ledger = done.run.usage
        assert ledger.frames_viewed <= (budget.frames or 10**9)
        assert ledger.prompt_tokens + ledger.completion_tokens <= (budget.tokens or 10**9)
        assert ledger.calls <= (budget.calls or 10**9)
        assert ledger.calls >= 1, "a small budget makes the first call smaller, it does not prevent it"
        assert done.value is not None or done.stopped in ("unparsed", "budget")


@pytest.mark.parametrize("name", NAMES)
def test_is_the_same_every_time_for_the_same_seed(name: str, video: Video) -> None:
    first, second = (play(video, name, hostile, seed=5) for _ in range(2))
    assert first.outcome == second.outcome
    for told in (lambda call: call.times, lambda call: repr(call.sampling)):  # calls made at once have no order
        assert sorted(map(told, first.calls)) == sorted(map(told, second.calls))


@pytest.mark.parametrize("name", NAMES)
def test_confidence_is_between_0_and_1_or_unknown_and_shares_sum_to_1(name: str, video: Video) -> None:
    for seed in range(10):
        answer = play(video, name, hostile, seed=seed).outcome.answer
        assert answer.confidence is None or 0 <= answer.confidence <= 1
        if answer.candidates:
            assert sum(each.share for each in answer.candidates) == pytest.approx(1)
        assert (answer.value is None) == (answer.stopped == "unparsed")


@pytest.mark.parametrize("name", NAMES)
def test_without_frames_left_the_best_answer_so_far_comes_back(name: str, video: Video) -> None:
    done = play(video, name, obliging, budget=Budget(frames=40))
    assert done.value is not None


@pytest.mark.parametrize("name", STRATEGIES)
def test_is_documented_cited_and_bounded(name: str) -> None:
    program = STRATEGIES[name]
    assert len(program.documentation().splitlines()[0]) > 20
    assert program.papers(), "the docstring cites an arXiv number"
    schema = program.model_json_schema()
    schema = schema.get("$defs", {}).get(program.__name__, schema)  # a recursive schema refers to itself
    for field, described in schema["properties"].items():
        if field == "name":
            continue
        assert "description" in described, field
        assert "default" in described, field
        numeric = described.get("type") in ("integer", "number")
        assert not numeric or {"minimum", "exclusiveMinimum"} & described.keys(), field
        assert not numeric or {"maximum", "exclusiveMaximum"} & described.keys(), field


@pytest.mark.parametrize("name", NAMES)
def test_resolves_from_its_own_dump(name: str) -> None:
    strategy = CATALOGUE.resolve(name)
    dumped = json.loads(strategy.model_dump_json())
    assert CATALOGUE.resolve(dumped) == strategy
