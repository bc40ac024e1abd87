"""What the model is taught: honest thoughts, the service's own prompts, turns that cannot see each other."""

from __future__ import annotations

from random import Random

import pytest
import torch
from transformers import PreTrainedTokenizerFast

from agents.core.question import Question
from agents.demo.generator import DemoVideo, make_video
from agents.demo.questions import ask_about
from agents.demo.training.batch import TokenTree, collate, make_tree, token_ids
from agents.demo.training.curriculum import JOINING, READING, batches
from agents.demo.training.examples import (
    FORMS,
    UNSEEN,
    conclusion,
    is_proven,
    is_seen,
    make_turn,
    random_times,
    transcript,
    view_video,
)
from agents.demo.training.model import TOKENS_PER_FRAME, new_model
from agents.demo.training.paraphrases import ANSWER_FORMAT, question_text
from agents.demo.training.train import logits_of, new_learner
from agents.parsing.answers import final_answer_text
from agents.prompts.questions import ask, frame_label


@pytest.fixture(scope="module")
def video() -> DemoVideo:
    return make_video(5)


def test_the_thought_names_each_shot_once(video: DemoVideo) -> None:
    every = view_video(video, [video.duration * i / 200 for i in range(200)])
    told = transcript(every).split("; ")
    assert [line.split("> ")[1] for line in told] == [shot.what for shot in video.shots]


def test_a_single_frame_shows_no_motion(video: DemoVideo) -> None:
    once = view_video(video, [shot.start for shot in video.shots])
    assert not any(once.shows_motion(shot) for shot in video.shots)
    shot = max(video.shots, key=lambda shot: shot.frames)
    assert view_video(video, [shot.start, shot.end - 0.1]).shows_motion(shot)


def test_what_was_missed_is_said_to_be_missed() -> None:
    for seed in range(60):
        video = make_video(seed)
        first = view_video(video, [0.0])
        for question in ask_about(video, 8):
            if question.kind in ("colour", "shape") and not is_seen(question, first):
                assert conclusion(question, first).endswith(UNSEEN)
                assert not is_proven(question, first)


@pytest.mark.parametrize("form", [form for form in FORMS if form != "describe"])
def test_every_taught_reply_ends_with_an_answer(video: DemoVideo, form: str) -> None:
    rng = Random(form)
    shown = view_video(video, random_times(video, 16, rng))
    for question in ask_about(video, 8):
        taught = make_turn(question, shown, form, rng)
        final = final_answer_text("".join(text for text, _ in taught.reply))
        expected = {"yes", "no"} if form == "verify" else {question.answer}
        assert final in expected


def test_most_prompts_are_the_service_s_own() -> None:
    question = Question(text="Which shape is red?", options=("star", "cross"), kind="choice")
    rng = Random(0)
    own = sum(question_text(question, "direct", rng) == ask(question, "direct", ANSWER_FORMAT) for _ in range(500))
    assert 0.5 < own / 500 < 0.7


def test_words_and_labels_are_short(tokenizer: PreTrainedTokenizerFast) -> None:
    for word in ("A", "F", "red", " red", "diamond", " diamond", "yes", "no", "3", " left"):
        assert len(token_ids(tokenizer, word)) == 1
    assert all(len(token_ids(tokenizer, frame_label(second + 0.5))) == 2 for second in range(100))


def test_turns_see_the_frames_and_themselves_only(video: DemoVideo, tokenizer: PreTrainedTokenizerFast) -> None:
    """The training layout gives the same logits as each turn alone behind the frames."""
    model = new_model(tokenizer)
    rng = Random(1)
    shown = view_video(video, random_times(video, 6, rng))
    turns = [make_turn(question, shown, "fact", rng) for question in ask_about(video, 3)]
    laid = make_tree(transcript(shown), turns, None, tokenizer)
    batch = collate([laid, make_tree("much shorter", turns[:1], None, tokenizer)], pad=0)
    trunk = batch.trunk_mask.shape[1]
    length = (batch.ids.shape[1] - trunk) // batch.branches
    new_learner(model, 1e-3, 1e-4, 0.5, "cpu")
    with torch.no_grad():
        together = logits_of(model, batch, batch.ids >= 0, "cpu").view(*batch.ids.shape, -1)[0]
        model.model.language_model.config._attn_implementation = "eager"
        for number, alone in enumerate(_alone(laid)):
            expected = model(input_ids=torch.tensor([alone])).logits[0, len(laid.trunk) :]
            got = together[trunk + number * length :][: len(expected)]
            assert (got - expected).abs().mean() < 0.05


def test_the_answer_is_hinted_at_where_question_and_prompt_end(
    video: DemoVideo, tokenizer: PreTrainedTokenizerFast
) -> None:
    rng = Random(2)
    shown = view_video(video, random_times(video, 6, rng))
    question = ask_about(video, 1)[0]
    laid = make_tree("", [make_turn(question, shown, "direct", rng)], None, tokenizer)
    branch = laid.branches[0]
    ends = [tokenizer.decode(branch.ids[: place + 1]) for place in branch.hints]
    assert ends[0].endswith(question.text[:-1])
    assert ends[1].endswith("<|im_start|>assistant\n")
    assert {tokenizer.decode([word]) for word in branch.hints.values()} == {f" {question.answer}"}


def test_every_phase_makes_batches_of_its_size(tokenizer: PreTrainedTokenizerFast) -> None:
    for stage in (READING, JOINING):
        for phase in stage.phases:
            batch = next(batches(phase, tokenizer, "test", stage.pictures))
            assert batch.ids.shape == batch.weights.shape == batch.hints.shape
            frames = int((batch.ids == tokenizer.convert_tokens_to_ids("<image>")).sum()) // TOKENS_PER_FRAME
            given = batch.pixels if batch.pixels is not None else batch.words
            assert frames == (0 if given is None else len(given))


def _alone(laid: TokenTree) -> list[list[int]]:
    return [laid.trunk + branch.ids for branch in laid.branches]
