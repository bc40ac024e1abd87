"""Stage 3: pictures are put into the decoder's own words, so that it can read them as it reads a transcript.

Every token of a frame learns to be the sum of the words for the colour and the shape that the frame shows. Without
it the joint stage names shapes but not colours: the tower knows a colour only in the one patch where it lies.
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
from agents.demo.vision import batches
from agents.demo.world import COLOURS, SHAPES

log = logging.getLogger(__name__)

_STEPS = 1500
_BATCH = 96
_RATE = 2e-3
_SHARPNESS = 8.0


class Alignment(nn.Module):
    """Holds the tower's tokens to what the reading stage showed instead: the sum of the two words' embeddings."""

    def __init__(self, model: LlavaForConditionalGeneration, tokenizer: PreTrainedTokenizerFast) -> None:
        super().__init__()
        table = model.get_input_embeddings().weight.detach()
        self.shapes = table[word_ids(SHAPES, tokenizer)].clone()
        self.colours = table[word_ids(COLOURS, tokenizer)].clone()

    def forward(self, tokens: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Loss, and the share of tokens nearest to the right shape and to the right colour."""
        shape, colour = labels[:, 0], labels[:, 1]
        wanted = (self.shapes[shape] + self.colours[colour])[:, None]
        loss = (tokens - wanted).square().sum(-1).mean()
        right = []
        for words, label in ((self.shapes, shape), (self.colours, colour)):
            logits = (_SHARPNESS * tokens @ words.T).flatten(0, 1)
            each = label.repeat_interleave(tokens.shape[1])
            loss = loss + 0.5 * nn.functional.cross_entropy(logits, each)
            right.append((logits.argmax(1) == each).float().mean())
        return loss, torch.stack(right)


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
            log.info("align %d/%d: shape, colour right %s", step, _STEPS, [round(r, 3) for r in right.tolist()])
    torch.save({"model": eyes.state_dict()}, path)


def tokens_of(model: LlavaForConditionalGeneration, pictures: Tensor, device: str) -> Tensor:
    """What the decoder receives for each picture."""
    with mixed(device):
        seen = model.model.vision_tower(pictures, output_hidden_states=True).hidden_states[-1]
        tokens: Tensor = model.model.multi_modal_projector(seen)
    return tokens.float().view(-1, TOKENS_PER_FRAME, tokens.shape[-1])
