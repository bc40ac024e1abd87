"""Models in process: what was read before is not read again, and changes nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from agents.engine import Prompt, Sampling
from agents.engines.local.checkpoint import Checkpoint
from agents.engines.transformers import TransformersEngine
from tests.agents.engines.reference import WARM, exact, once, plain
from tests.agents.engines.strip import strip, words
from tests.agents.engines.tiny import save_tiny_gemma


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
