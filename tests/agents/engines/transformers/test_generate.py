"""Models in process: one prefill, true probabilities, whole replies, and a prefix cache that changes nothing."""

from __future__ import annotations

from itertools import pairwise
from math import log
from pathlib import Path

import pytest
import torch

from agents.engines.base import Prompt, Sampling
from agents.engines.transformers.engine import TransformersEngine
from agents.engines.transformers.model import Checkpoint
from tests.agents.engines.reference import WARM, exact, from_scratch, once, plain, watched
from tests.agents.engines.strip import strip, words
from tests.agents.engines.tiny import save_tiny_gemma


@pytest.mark.parametrize("prompt", [strip(3, "What is red?"), words("größe?")], ids=["frames", "words"])
def test_greedy_writes_what_the_library_writes(
    checkpoint: Checkpoint, engine: TransformersEngine, prompt: Prompt
) -> None:
    once(engine, strip(5, "Another prompt first, to leave its traces."), Sampling(max_tokens=2))
    reply = once(engine, prompt, Sampling(max_tokens=16)).replies[0]
    ids = plain(checkpoint, prompt, 16)
    assert reply.text == checkpoint.tokenizer.decode(ids, skip_special_tokens=True)
    assert reply.finish == ("stop" if ids[-1] in checkpoint.ends else "length")


def test_eight_samples_read_the_prompt_once(checkpoint: Checkpoint, engine: TransformersEngine) -> None:
    tower = getattr(checkpoint.model.model, "vision_tower", None) or checkpoint.model.model.visual
    towers: list[int] = []
    hook = tower.register_forward_hook(lambda *_: towers.append(1))
    with watched(checkpoint) as seen:
        generation = once(engine, strip(4, "What is red?"), WARM, n=8)
    hook.remove()
    assert len(towers) == 1
    assert seen[0] == (1, generation.prompt_tokens)
    assert all(length == 1 and rows <= 8 for rows, length in seen[1:]) and seen[1][0] >= 6
    assert len(generation.replies) == 8
    assert len(seen) <= WARM.max_tokens


def test_rows_that_end_are_dropped_and_counted_up_to_their_end(
    checkpoint: Checkpoint, engine: TransformersEngine
) -> None:
    with watched(checkpoint) as seen:
        generation = once(engine, strip(1, "End!"), Sampling(temperature=1.5, max_tokens=60, seed=1), n=8)
    rows = [each for each, _ in seen[1:]]
    assert all(later <= earlier for earlier, later in pairwise(rows)) and rows[-1] < 8
    ended = sum(reply.finish == "stop" for reply in generation.replies)
    assert generation.completion_tokens == sum(len(reply.tokens) for reply in generation.replies) + ended


def test_any_row_may_be_the_last_to_end(engine: TransformersEngine) -> None:
    last = set()
    for seed in range(12):
        hot = Sampling(temperature=1.5, max_tokens=60, seed=seed, stop=("a", "e", "o"))
        replies = once(engine, strip(1, "End!"), hot, n=2).replies
        lengths = [len(reply.tokens) for reply in replies]
        last |= {lengths.index(max(lengths))} if lengths[0] != lengths[1] else set()
    assert last == {0, 1}


def test_samples_follow_the_seed_and_nothing_else(engine: TransformersEngine) -> None:
    state = torch.random.get_rng_state()
    one, same = (once(engine, strip(2, "Say!"), WARM, n=4).replies for _ in range(2))
    other = once(engine, strip(2, "Say!"), Sampling(temperature=0.9, max_tokens=10, seed=6), n=4).replies
    assert [each.text for each in one] == [each.text for each in same]
    assert [each.text for each in one] != [each.text for each in other]
    assert len({each.text for each in one}) == 4
    assert torch.equal(state, torch.random.get_rng_state())


def test_without_a_seed_samples_differ(engine: TransformersEngine) -> None:
    unseeded = Sampling(temperature=1.0, max_tokens=10)
    assert once(engine, words("Say!"), unseeded).replies != once(engine, words("Say!"), unseeded).replies


def test_logprobs_are_those_of_the_whole_untouched_distribution(
    checkpoint: Checkpoint, engine: TransformersEngine
) -> None:
    prompt = strip(2, "What is red?")
    ids = plain(checkpoint, prompt, 8)
    expected = from_scratch(checkpoint, prompt, ids)
    # Only the most likely token is left to draw: greedy by other means, at another temperature.
    drawn = once(engine, prompt, Sampling(temperature=0.5, top_k=1, top_p=0.9, max_tokens=8, seed=1), n=2)
    for reply in drawn.replies:
        found = [token.logprob for token in reply.tokens]
        assert found == pytest.approx([float(expected[at, ids[at]]) for at in range(len(found))], abs=1e-4)


def test_token_texts_joined_are_the_reply(engine: TransformersEngine) -> None:
    wild = Sampling(temperature=2.0, max_tokens=60, seed=2)
    for reply in once(engine, strip(1, "Größe?"), wild, n=8).replies:
        assert "".join(token.text for token in reply.tokens) == reply.text


def test_stop_strings_cut_the_reply_and_its_tokens(engine: TransformersEngine) -> None:
    prompt = strip(2, "What is red?")
    whole = once(engine, prompt, Sampling(max_tokens=24)).replies[0]
    stop = whole.text[len(whole.text) // 2 :][:2]
    cut = once(engine, prompt, Sampling(max_tokens=24, stop=("never this", stop)))
    reply = cut.replies[0]
    assert reply.text == whole.text[: whole.text.index(stop)] and reply.finish == "stop"
    assert "".join(token.text for token in reply.tokens) == reply.text
    assert cut.completion_tokens < 24


def test_a_reply_that_is_cut_off_says_so(engine: TransformersEngine) -> None:
    generation = once(engine, strip(2, "What is red?"), Sampling(max_tokens=3))
    assert generation.replies[0].finish == "length" and generation.completion_tokens == 3


def test_writing_ends_where_the_model_does(engine: TransformersEngine) -> None:
    prompt = words("z" * 470)
    generation = once(engine, prompt, Sampling(temperature=3.0, max_tokens=400, seed=0), n=4)
    assert generation.prompt_tokens + max(len(reply.tokens) for reply in generation.replies) <= 512


@pytest.mark.parametrize("choices", [("A", "B", "C"), ("yes", "no"), ("1", "10", "größe", "the red circle")], ids=str)
def test_choices_have_their_exact_probabilities(
    checkpoint: Checkpoint, engine: TransformersEngine, choices: tuple[str, ...]
) -> None:
    prompt = strip(3, "Which one?")
    generation = once(engine, prompt, Sampling(max_tokens=1, choices=choices), n=2)
    reply = generation.replies[0]
    assert reply.probabilities == pytest.approx(exact(checkpoint, prompt, choices), abs=1e-6)
    best = max(choices, key=lambda each: (reply.probabilities or {})[each])
    assert reply.text == best and generation.completion_tokens == 2
    assert [token.text for token in reply.tokens] == [best]
    assert reply.tokens[0].logprob == pytest.approx(log((reply.probabilities or {})[best]))


def test_choices_of_one_token_need_the_prompt_only(checkpoint: Checkpoint, engine: TransformersEngine) -> None:
    with watched(checkpoint) as seen:
        once(engine, strip(3, "Which one?"), Sampling(choices=("A", "B", "C")), n=8)
    assert len(seen) == 1


def test_choices_are_sampled_by_their_probabilities(engine: TransformersEngine) -> None:
    warm = Sampling(temperature=1.0, choices=("A", "B"), seed=3)
    replies = once(engine, strip(1, "Which?"), warm, n=400).replies
    share = sum(reply.text == "A" for reply in replies) / 400
    assert share == pytest.approx((replies[0].probabilities or {})["A"], abs=0.1)


def test_the_same_pictures_are_read_once(checkpoint: Checkpoint) -> None:
    mindful, forgetful = TransformersEngine(checkpoint), TransformersEngine(checkpoint, remembered=0)
    asks: list[tuple[Prompt, Sampling, int]] = [
        (strip(3, "What is red?"), WARM, 3),
        (strip(3, "What is red?"), WARM, 2),
        (strip(4, "Others in between, which leave other positions behind.", first=9), WARM, 1),
        (strip(3, "What is blue? Say it in more words than before."), WARM, 3),
        (words("No pictures at all."), WARM, 1),
        (strip(3, "Which?"), Sampling(choices=("A", "the B", "10")), 1),
        (strip(4, "Forgotten: two other prompts came in between.", first=9), WARM, 1),
    ]
    shared = []
    for prompt, sampling, n in asks:
        found, expected = once(mindful, prompt, sampling, n), once(forgetful, prompt, sampling, n)
        assert [each.text for each in found.replies] == [each.text for each in expected.replies]
        assert [token.logprob for each in found.replies for token in each.tokens] == pytest.approx(
            [token.logprob for each in expected.replies for token in each.tokens], abs=1e-4
        )
        assert found.replies[0].probabilities == pytest.approx(expected.replies[0].probabilities, abs=1e-6)
        assert found.prompt_tokens == expected.prompt_tokens and expected.cached_tokens == 0
        shared.append(found.cached_tokens)
    assert shared[0] == shared[2] == shared[4] == shared[6] == 0
    assert shared[1] == once(forgetful, *asks[1]).prompt_tokens - 1
    assert shared[3] > 20 and shared[5] > 20


def test_a_model_that_forgets_is_never_continued(tmp_path: Path) -> None:
    """Gemma 3 has layers with a sliding window: right answers, and nothing taken from memory."""
    save_tiny_gemma(tmp_path)
    checkpoint = Checkpoint.load(str(tmp_path), device="cpu")
    engine, prompt, choices = TransformersEngine(checkpoint), strip(3, "What is red?"), ("1", "10", "yes")
    assert once(engine, prompt, WARM, n=8).cached_tokens == 0
    again = once(engine, prompt, Sampling(max_tokens=24))
    assert again.cached_tokens == 0
    assert again.replies[0].text == checkpoint.tokenizer.decode(plain(checkpoint, prompt, 24), skip_special_tokens=True)
    weighed = once(engine, prompt, Sampling(choices=choices)).replies[0].probabilities
    assert weighed == pytest.approx(exact(checkpoint, prompt, choices), abs=1e-5)


def test_pictures_that_differ_are_never_taken_from_memory(engine: TransformersEngine) -> None:
    once(engine, strip(3, "What is red?"), WARM)
    assert once(engine, strip(3, "What is red?", first=1), WARM).cached_tokens == 0
