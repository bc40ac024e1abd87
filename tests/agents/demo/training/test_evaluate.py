"""The committed weights: what anyone gets who loads them with Hugging Face's own classes."""

from __future__ import annotations

import sys

import pytest
from PIL import Image

from agents.demo import WEIGHTS
from agents.demo.encoder import draw_frame
from agents.demo.generator import DEV_FROM, FPS, make_video
from agents.demo.questions import ask_about
from agents.demo.training.evaluate import DemoCheckpoint, TimedImages, as_service_question
from agents.demo.training.paraphrases import ANSWER_FORMAT
from agents.parsing.answers import parse_answer
from agents.prompts.questions import ask


@pytest.fixture(scope="module")
def checkpoint() -> DemoCheckpoint:
    return DemoCheckpoint(WEIGHTS)


def frames_of(seed: int, count: int) -> TimedImages:
    video = make_video(seed)
    times = [video.duration * i / count for i in range(count)]
    shots = [(time, video.shot_at(time)) for time in times]
    return [(t, Image.fromarray(draw_frame(shot, int(t * FPS + 1e-6) - shot.first))) for t, shot in shots]


def test_the_weights_are_small_and_need_no_torchvision() -> None:
    assert sum(path.stat().st_size for path in WEIGHTS.iterdir()) <= 16_000_000
    assert "torchvision" not in sys.modules


def test_it_answers_questions_about_videos_it_has_not_seen(checkpoint: DemoCheckpoint) -> None:
    right = asked = 0
    for seed in range(DEV_FROM, DEV_FROM + 6):
        frames = frames_of(seed, 24)
        for question in ask_about(make_video(seed), 4):
            choice = as_service_question(question)
            words = [choice.display(value) for value in choice.values]
            shares = checkpoint.probabilities(frames, ask(choice, "direct", ANSWER_FORMAT), words)
            assert sum(shares) == pytest.approx(1, abs=1e-4)
            right += words[shares.index(max(shares))] == question.answer
            asked += 1
    assert right / asked > 0.7


def test_its_thoughts_can_be_read(checkpoint: DemoCheckpoint) -> None:
    frames = frames_of(DEV_FROM + 9, 12)
    questions = [as_service_question(question) for question in ask_about(make_video(DEV_FROM + 9), 3)]
    replies = checkpoint.replies([(frames, ask(question, "think", ANSWER_FORMAT)) for question in questions])
    assert all(parse_answer(question, reply) is not None for question, reply in zip(questions, replies, strict=True))
