"""The committed weights: what anyone gets who loads them with Hugging Face's own classes."""

from __future__ import annotations

import sys

import pytest
from PIL import Image

from agents.demo import WEIGHTS
from agents.demo.draw import draw
from agents.demo.evaluate import posed
from agents.demo.film import FPS, make_film
from agents.demo.pupil import Frames, Pupil
from agents.demo.questions import ask_about
from agents.demo.seeds import DEV_FROM
from agents.demo.wording import MANNER
from agents.parse import read
from agents.prompts import ask


@pytest.fixture(scope="module")
def pupil() -> Pupil:
    return Pupil(WEIGHTS)


def frames_of(seed: int, count: int) -> Frames:
    film = make_film(seed)
    times = [film.duration * i / count for i in range(count)]
    shots = [(time, film.shot_at(time)) for time in times]
    return [(t, Image.fromarray(draw(shot, int(t * FPS + 1e-6) - shot.first))) for t, shot in shots]


def test_the_weights_are_small_and_need_no_torchvision() -> None:
    assert sum(path.stat().st_size for path in WEIGHTS.iterdir()) <= 16_000_000
    assert "torchvision" not in sys.modules


def test_it_answers_questions_about_films_it_has_not_seen(pupil: Pupil) -> None:
    right = asked = 0
    for seed in range(DEV_FROM, DEV_FROM + 6):
        frames = frames_of(seed, 24)
        for question in ask_about(make_film(seed), 4):
            choice = posed(question)
            words = [choice.show(value) for value in choice.values]
            shares = pupil.probabilities(frames, ask(choice, "direct", MANNER), words)
            assert sum(shares) == pytest.approx(1, abs=1e-4)
            right += words[shares.index(max(shares))] == question.answer
            asked += 1
    assert right / asked > 0.7


def test_its_thoughts_can_be_read(pupil: Pupil) -> None:
    frames = frames_of(DEV_FROM + 9, 12)
    questions = [posed(question) for question in ask_about(make_film(DEV_FROM + 9), 3)]
    replies = pupil.replies([(frames, ask(question, "think", MANNER)) for question in questions])
    assert all(read(question, reply) is not None for question, reply in zip(questions, replies, strict=True))
