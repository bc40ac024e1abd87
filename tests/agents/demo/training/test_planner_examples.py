"""What a planner is taught is what it will read."""

from __future__ import annotations

import re
from random import Random

import pytest
import torch
from transformers import PreTrainedTokenizerFast

from agents.demo.generator import SEEN, make_signed_video
from agents.demo.training.batch import make_tree
from agents.demo.training.curriculum import SEEKING, batches
from agents.demo.training.examples import view_video
from agents.demo.training.model import new_model
from agents.demo.training.planner_examples import PLANNER_EXAMPLES, search_turn, zoom_turn
from agents.demo.training.tokenizer import extend_vocab, new_token_vector, word_ids
from agents.engines.base import Reply
from agents.planner.calls import parse_reply
from agents.planner.toolbox import Toolbox
from tests.agents.planner.stage import search
from tests.agents.stage import COLOURS, sure
from tools.video.video import Video


def replies(turn_pieces: tuple[tuple[str, float], ...]) -> list[str]:
    return [text for text, weight in turn_pieces if weight == 1.0]


def test_the_task_is_worded_as_the_planner_words_it(video: Video) -> None:
    done = search(video, [sure("A", 0.4), "search_clips red star", "Answer: red"], protocol="terse")
    task = done.calls[1].text
    taught = [search_turn(Random(seed)).ask for seed in range(12)]
    (head, listed) = re.split(r"Film: 0 to [\d.]+ s\n", task)
    assert "\nA. " in head and all("\nA. " in each for each in taught)
    assert any(each.endswith(listed) and re.search(r"\nFilm: 0 to [\d.]+ s\n", each) for each in taught)


@pytest.mark.parametrize("seed", range(20))
def test_every_reply_that_is_taught_can_be_read(seed: int) -> None:
    toolbox = Toolbox(("search_clips", "read_subtitles", "view", "zoom"))
    signed = make_signed_video(seed)
    sign = next(shot for shot in signed.shots if shot.sign)
    for turn in (search_turn(Random(seed)), zoom_turn(view_video(signed, [sign.start]), Random(seed))):
        *steps, last = replies(turn.reply)
        for step in steps:
            (call,) = parse_reply(Reply(step), toolbox, COLOURS).calls
            assert toolbox.bind(call.name, call.arguments or {})
        assert last.startswith("Answer: ")


def test_of_the_captions_only_one_answers() -> None:
    for seed in range(50):
        turn = search_turn(Random(seed))
        (query, *_) = replies(turn.reply)
        words = query.removeprefix("search_clips ")
        data = next(text for text, weight in turn.reply if weight == 0.0 and "<data>" in text)
        hits = [line for line in data.splitlines() if re.search(rf"\b{words}\b", line) and line[0].isdigit()]
        assert 1 <= len(hits) <= 2, data
        assert len({" ".join(re.findall(rf"\w+ \b{words}|\b{words} \w+", hit)) for hit in hits}) == 1 or " " in words


def test_a_grown_vocabulary_keeps_what_was_known(tokenizer: PreTrainedTokenizerFast) -> None:
    model = new_model(tokenizer, seed=1)
    same = extend_vocab(model, tokenizer, tokenizer)
    assert torch.equal(model.get_input_embeddings().weight, same.get_input_embeddings().weight)
    assert torch.equal(new_token_vector("sign", 8, 0.5), new_token_vector("sign", 8, 0.5))
    assert len(set(word_ids(SEEN, tokenizer))) == len(SEEN), "every word that a frame is read as is one token"


@pytest.mark.parametrize("form", sorted(PLANNER_EXAMPLES))
def test_planner_examples_become_batches(form: str, tokenizer: PreTrainedTokenizerFast) -> None:
    phase = SEEKING.phases[0]
    alone = type(phase)(form, 1, (4,), {form: 1.0}, tokens=600, turns=2)
    for pictures in (False, True):
        batch = next(batches(alone, tokenizer, "test", pictures))
        assert (batch.weights > 0).any()


def test_the_answer_is_hinted_at_where_the_reply_begins_that_gives_it(tokenizer: PreTrainedTokenizerFast) -> None:
    turn = search_turn(Random(1))
    (branch,) = make_tree("", [turn], None, tokenizer).branches
    ((place, word),) = branch.hints.items()
    value = turn.reply[-1][0].removeprefix("Answer: ")
    assert tokenizer.decode([word]).strip() == value
    assert tokenizer.decode(branch.ids[place + 1 : place + 4]).startswith(f"Answer: {value}")
