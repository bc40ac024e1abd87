"""What the lessons of the demo model share."""

from __future__ import annotations

import pytest
from transformers import PreTrainedTokenizerFast

from agents.demo.training.tokenizer import new_tokenizer
from tests.agents.threads import one_thread as one_thread


@pytest.fixture(scope="session")
def tokenizer() -> PreTrainedTokenizerFast:
    """The tokenizer as it is learned from the lessons, which takes seconds."""
    return new_tokenizer()
