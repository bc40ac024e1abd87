"""Questions: true, proved by their evidence, and no use to anyone who has not seen the video."""

from __future__ import annotations

from collections import Counter, defaultdict

import pytest

from agents.demo.generator import TEST_FROM, DemoVideo, ForbiddenSeed, Shot, for_training, make_video, split_of
from agents.demo.questions import HARDER, KINDS, DemoQuestion, ask_about

Asked = list[tuple[DemoVideo, DemoQuestion]]


@pytest.fixture(scope="module")
def asked() -> Asked:
    """Many questions about many videos."""
    videos = [make_video(seed) for seed in range(1500)]
    return [(video, question) for video in videos for question in ask_about(video, 6, KINDS + HARDER)]


def test_all_kinds_are_asked(asked: Asked) -> None:
    shares = Counter(question.kind for _, question in asked)
    assert set(shares) == {*KINDS, *HARDER}
    assert min(shares.values()) > len(asked) / 20


def test_kinds_that_the_model_has_not_learned_are_asked_on_demand_only() -> None:
    kinds = {question.kind for seed in range(100) for question in ask_about(make_video(seed), 6)}
    assert kinds == set(KINDS)


def test_the_evidence_proves_the_answer(asked: Asked) -> None:
    for video, question in asked:
        shots = [shot for shot in video.shots if any(a <= shot.start < b for a, b in question.evidence)]
        assert _from(question, shots, video) == question.answer, question


def _from(question: DemoQuestion, shots: list[Shot], video: DemoVideo) -> str:
    """The answer, found anew from the shots of the evidence."""
    if question.kind == "count":
        return str(len(shots))
    if question.kind == "appears":
        wanted = question.text.removeprefix("Does a ").removesuffix(" appear?")
        return "yes" if wanted in {shot.what for shot in shots} else "no"
    if question.kind == "moves":
        return shots[0].direction
    if question.kind in ("first", "last"):
        assert shots == [video.shots[0 if question.kind == "first" else -1]]
    decisive = shots[-1]
    if question.kind == "after":
        assert decisive.first == shots[0].first + shots[0].frames
    wants_colour = question.text.startswith("What colour")
    values = {shot.colour if wants_colour else shot.shape for shot in shots}
    assert question.kind == "after" or len(values) == 1
    return decisive.colour if wants_colour else decisive.shape


def test_nobody_gains_by_guessing_blind(asked: Asked) -> None:
    """The best rule that sees only the wording (fixed letter, or favourite answer) stays at chance."""
    by_kind: dict[str, list[DemoQuestion]] = defaultdict(list)
    for _, question in asked:
        by_kind[question.kind].append(question)
    for kind, questions in by_kind.items():
        learn, held = questions[::2], questions[1::2]
        chance = 0.25 if questions[0].options else 0.5
        slack = 4 * (chance * (1 - chance) / len(held)) ** 0.5
        favourites = Counter(question.answer for question in learn)
        by_word = sum(_favourite(question, favourites) == question.answer for question in held)
        assert by_word / len(held) < chance + slack, kind
        if questions[0].options:
            letter = Counter(question.letter for question in learn).most_common(1)[0][0]
            assert sum(q.letter == letter for q in held) / len(held) < chance + slack, kind


def _favourite(question: DemoQuestion, favourites: Counter[str]) -> str:
    return max(question.options or ("yes", "no"), key=favourites.__getitem__)


def test_the_kind_of_question_says_nothing_about_the_video(asked: Asked) -> None:
    """Video and questions come from different random streams."""
    lengths: dict[str, list[int]] = defaultdict(list)
    for video, question in asked:
        if question.kind in ("first", "last", "appears"):
            lengths[question.kind].append(len(video.shots))
    means = [sum(each) / len(each) for each in lengths.values()]
    assert max(means) - min(means) < 0.25


def test_options_differ_and_hold_the_answer(asked: Asked) -> None:
    for _, question in asked:
        if question.options:
            assert len(set(question.options)) == 4
            assert question.options["ABCD".index(question.letter)] == question.answer
        else:
            assert question.answer in ("yes", "no")


def test_training_never_touches_the_test_range() -> None:
    assert for_training(TEST_FROM - 1) == TEST_FROM - 1
    with pytest.raises(ForbiddenSeed):
        for_training(TEST_FROM)
    assert [split_of(seed) for seed in (0, 900_000_000, TEST_FROM)] == ["train", "dev", "test"]
