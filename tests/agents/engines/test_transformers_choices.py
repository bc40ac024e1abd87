"""Models in process: the probabilities of given replies."""

from __future__ import annotations

from math import log

import pytest

from agents.engine import Sampling
from agents.engines.local.checkpoint import Checkpoint
from agents.engines.transformers import TransformersEngine
from tests.agents.engines.reference import exact, once, watched
from tests.agents.engines.strip import strip


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
