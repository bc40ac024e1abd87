"""Move what a model has learned to another vocabulary: known words keep their vectors, new ones get fresh ones."""

from __future__ import annotations

from zlib import crc32

import torch
from torch import Tensor
from transformers import LlavaForConditionalGeneration, PreTrainedTokenizerFast

from agents.demo.model import new_model


def graft(
    model: LlavaForConditionalGeneration, old: PreTrainedTokenizerFast, new: PreTrainedTokenizerFast
) -> LlavaForConditionalGeneration:
    """The same model with the words of another tokenizer."""
    grown = new_model(new)
    table = model.get_input_embeddings().weight.detach()
    known, spread = old.get_vocab(), float(table.std())
    rows = [
        table[known[token]] if token in known else fresh(token, table.shape[1], spread)
        for token in sorted(new.get_vocab(), key=new.get_vocab().get)
    ]
    state = dict(model.state_dict())
    for name in [name for name, value in state.items() if value.shape == table.shape]:
        state[name] = torch.stack(rows)
    grown.load_state_dict(state)
    return grown


def fresh(token: str, width: int, spread: float) -> Tensor:
    """A vector for a word that nobody knows yet: always the same for the same word."""
    generator = torch.Generator().manual_seed(crc32(token.encode()))
    return torch.randn(width, generator=generator) * spread
