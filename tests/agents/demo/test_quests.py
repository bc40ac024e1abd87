"""What a planner is taught is what it will read."""

from __future__ import annotations

import re
from random import Random

import pytest
import torch
from transformers import PreTrainedTokenizerFast

from agents.demo.batch import tree
from agents.demo.curriculum import SEEKING, batches
from agents.demo.film import make_signed_film
from agents.demo.graft import fresh, graft
from agents.demo.model import new_model
from agents.demo.quest import closer, seek
from agents.demo.quests import QUESTS
from agents.demo.tokens import word_ids
from agents.demo.view import view
from agents.demo.world import SEEN
from agents.engine import Reply
from agents.planning.calls import wish
from agents.planning.toolbox import Toolbox
from tests.agents.planning.stage import search
from tests.agents.stage import COLOURS, sure
from tools.video import Video


def replies(turn_pieces: tuple[tuple[str, float], ...]) -> list[str]:
    return [text for text, weight in turn_pieces if weight == 1.0]


def test_the_task_is_worded_as_the_planner_words_it(video: Video) -> None:
    done = search(video, [sure("A", 0.4), "search_clips red star", "Answer: red"], protocol="terse")
    task = done.calls[1].text
    taught = [seek(Random(seed)).ask for seed in range(12)]
    (head, listed) = re.split(r"Film: 0 to [\d.]+ s\n", task)
    assert "\nA. " in head and all("\nA. " in each for each in taught)
    assert any(each.endswith(listed) and re.search(r"\nFilm: 0 to [\d.]+ s\n", each) for each in taught)


@pytest.mark.parametrize("seed", range(20))
def test_every_reply_that_is_taught_can_be_read(seed: int) -> None:
    toolbox = Toolbox(("search_clips", "read_subtitles", "view", "zoom"))
    signed = make_signed_film(seed)
    sign = next(shot for shot in signed.shots if shot.sign)
    for turn in (seek(Random(seed)), closer(view(signed, [sign.start]), Random(seed))):
        *steps, last = replies(turn.reply)
        for step in steps:
            (call,) = wish(Reply(step), toolbox, COLOURS).calls
            assert toolbox.bind(call.name, call.arguments or {})
        assert last.startswith("Answer: ")


def test_of_the_captions_only_one_answers() -> None:
    for seed in range(50):
        turn = seek(Random(seed))
        (query, *_) = replies(turn.reply)
        words = query.removeprefix("search_clips ")
        data = next(text for text, weight in turn.reply if weight == 0.0 and "<data>" in text)
        hits = [line for line in data.splitlines() if re.search(rf"\b{words}\b", line) and line[0].isdigit()]
        assert 1 <= len(hits) <= 2, data
        assert len({" ".join(re.findall(rf"\w+ \b{words}|\b{words} \w+", hit)) for hit in hits}) == 1 or " " in words


def test_a_grown_vocabulary_keeps_what_was_known(tokenizer: PreTrainedTokenizerFast) -> None:
    model = new_model(tokenizer, seed=1)
    same = graft(model, tokenizer, tokenizer)
    assert torch.equal(model.get_input_embeddings().weight, same.get_input_embeddings().weight)
    assert torch.equal(fresh("sign", 8, 0.5), fresh("sign", 8, 0.5))
    assert len(set(word_ids(SEEN, tokenizer))) == len(SEEN), "every word that a frame is read as is one token"


@pytest.mark.parametrize("form", sorted(QUESTS))
def test_quests_become_batches(form: str, tokenizer: PreTrainedTokenizerFast) -> None:
    phase = SEEKING.phases[0]
    alone = type(phase)(form, 1, (4,), {form: 1.0}, tokens=600, turns=2)
    for pictures in (False, True):
        batch = next(batches(alone, tokenizer, "test", pictures))
        assert (batch.weights > 0).any()


def test_the_answer_is_hinted_at_where_the_reply_begins_that_gives_it(tokenizer: PreTrainedTokenizerFast) -> None:
    turn = seek(Random(1))
    (branch,) = tree("", [turn], None, tokenizer).branches
    ((place, word),) = branch.hints.items()
    value = turn.reply[-1][0].removeprefix("Answer: ")
    assert tokenizer.decode([word]).strip() == value
    assert tokenizer.decode(branch.ids[place + 1 : place + 4]).startswith(f"Answer: {value}")
