"""Models in process: one reading of the prompt, true probabilities, whole replies."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch

from agents.engine import Prompt, Sampling
from agents.engines.local.checkpoint import Checkpoint
from agents.engines.transformers import TransformersEngine
from tests.agents.engines.reference import WARM, from_scratch, once, plain, watched
from tests.agents.engines.strip import strip, words


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
