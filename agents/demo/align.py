"""Stage 4: pictures are put into the decoder's own words, so that it can read them as it reads a transcript.

Every token of a frame learns to be the sum of the words for what the frame shows: its colour and its shape, and where
a sign is; of a closer look, the digit on the sign. Without it the joint stage names shapes but not colours: the tower
knows a colour only in the one patch where it lies.
"""

from __future__ import annotations

import logging
from pathlib import Path

import torch
from torch import Tensor, nn
from transformers import LlavaForConditionalGeneration, PreTrainedTokenizerFast

from agents.demo.model import TOKENS_PER_FRAME
from agents.demo.precision import mixed
from agents.demo.tokens import word_ids
from agents.demo.vision import UNTOLD, batches
from agents.demo.world import CELLS, COLOURS, DIGITS, SHAPES

log = logging.getLogger(__name__)

_STEPS = 1500
_BATCH = 96
_RATE = 2e-3
_SHARPNESS = 8.0
_COLUMNS = (0, 1, 4, 5)  # of the labels: shape, colour, sign, digit


class Alignment(nn.Module):
    """Holds the tower's tokens to what the reading stage showed instead: the sum of the two words' embeddings."""

    def __init__(self, model: LlavaForConditionalGeneration, tokenizer: PreTrainedTokenizerFast) -> None:
        super().__init__()
        table = model.get_input_embeddings().weight.detach()
        self.words = [table[word_ids(words, tokenizer)].clone() for words in (SHAPES, COLOURS, CELLS, DIGITS)]
        self.sign = table[word_ids(("sign",), tokenizer)].clone()

    def forward(self, tokens: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Loss, and the share of tokens nearest to the right shape, colour, cell and digit, where there is one."""
        told = [(words, _known(labels[:, column], words)) for words, column in zip(self.words, _COLUMNS, strict=True)]
        wanted = torch.stack([words[label.clamp(min=0)] * (label >= 0)[:, None] for words, label in told]).sum(0)
        signed = (told[2][1] >= 0) | (told[3][1] >= 0)
        wanted = (wanted + self.sign * signed[:, None])[:, None]
        loss = (tokens - wanted).square().sum(-1).mean()
        right = []
        for words, label in told:
            logits = (_SHARPNESS * tokens @ words.T).flatten(0, 1)
            each = label.repeat_interleave(tokens.shape[1])
            loss = loss + 0.5 * nn.functional.cross_entropy(logits, each, ignore_index=UNTOLD)
            right.append(((logits.argmax(1) == each) & (each >= 0)).sum() / (each >= 0).sum().clamp(min=1))
        return loss, torch.stack(right)


def _known(label: Tensor, words: Tensor) -> Tensor:
    """The label, or UNTOLD where there is no word for it: no sign, nothing to read."""
    return label.masked_fill((label < 0) | (label >= len(words)), UNTOLD)


def align(model: LlavaForConditionalGeneration, tokenizer: PreTrainedTokenizerFast, path: Path, device: str) -> None:
    """Train tower and projector against the decoder's words; does nothing if that was done before."""
    eyes = nn.ModuleList([model.model.vision_tower, model.model.multi_modal_projector]).to(device)
    if path.exists():
        eyes.load_state_dict(torch.load(path, map_location=device, weights_only=True)["model"])
        return
    alignment = Alignment(model.to(device), tokenizer)
    weights = list(eyes.parameters())
    optimiser = torch.optim.AdamW(weights, lr=_RATE, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: max(0.05, 1 - step / _STEPS))
    stream = batches(1, _BATCH)
    for step in range(_STEPS):
        pictures, labels = (each.to(device) for each in next(stream))
        loss, right = alignment(tokens_of(model, pictures, device), labels)
        optimiser.zero_grad()
        torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_(weights, 1.0)
        optimiser.step()
        schedule.step()
        if step % 100 == 0:
            log.info(
                "align %d/%d: shape, colour, cell, digit right %s", step, _STEPS, [round(r, 3) for r in right.tolist()]
            )
    torch.save({"model": eyes.state_dict()}, path)


def tokens_of(model: LlavaForConditionalGeneration, pictures: Tensor, device: str) -> Tensor:
    """What the decoder receives for each picture."""
    with mixed(device):
        seen = model.model.vision_tower(pictures, output_hidden_states=True).hidden_states[-1]
        tokens: Tensor = model.model.multi_modal_projector(seen)
    return tokens.float().view(-1, TOKENS_PER_FRAME, tokens.shape[-1])
