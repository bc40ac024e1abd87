"""Train the vision tower to name what a frame shows, then align its tokens with the decoder's word embeddings.

Alignment makes every token of a frame the sum of the words for what the frame shows: its colour and its shape, and
where a sign is; of a closer look, the digit on the sign. Without it the joint stage names shapes but not colours.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random

import numpy as np
import torch
from torch import Tensor, nn
from transformers import LlavaForConditionalGeneration, PreTrainedTokenizerFast

from agents.demo.encoder import Pixels
from agents.demo.generator import (
    CELLS,
    COLOURS,
    DEV_FROM,
    DIGITS,
    SHAPES,
    SIDE,
    Shot,
    Sign,
    for_training,
    make_signed_video,
    make_video,
)
from agents.demo.training.augment import closer_look, crop_around, degrade, to_tensor, training_frame
from agents.demo.training.model import TOKENS_PER_FRAME, mixed_precision, vision_config
from agents.demo.training.tokenizer import word_ids

log = logging.getLogger(__name__)

STEPS = 6000
_BATCH = 128
_RATE = 1e-3
_CELLS = 6  # places along each axis that the tower must tell apart
_PLAIN, _SIGNED = 0.5, 0.7  # up to here videos without signs, then signed ones, the rest closer looks
NO_LABEL = -100
NO_DIGIT = len(DIGITS)
_SIZES = [len(SHAPES), len(COLOURS), _CELLS, _CELLS, 10, len(DIGITS) + 1]


@dataclass(frozen=True, slots=True)
class LabelledImage:
    """A picture and what can be told from it; `NO_LABEL` where nothing can.

    `sign` is the cell of a sign or 9 for none, `digit` what it says or 10 where that cannot be read.
    """

    picture: Pixels
    shape: int = NO_LABEL
    colour: int = NO_LABEL
    column: int = NO_LABEL
    row: int = NO_LABEL
    sign: int = NO_LABEL
    digit: int = NO_DIGIT

    @property
    def labels(self) -> tuple[int, ...]:
        """The labels of the six questions."""
        return self.shape, self.colour, self.column, self.row, self.sign, self.digit


class VisionProbe(nn.Module):
    """Six questions to the tower's tokens: shape, colour, column, row, sign, digit. Used for training only."""

    def __init__(self, width: int, tokens: int) -> None:
        super().__init__()
        self.answers = nn.Linear(width * tokens, sum(_SIZES))

    def forward(self, seen: Tensor) -> tuple[Tensor, ...]:
        """Logits for each of the six questions."""
        return tuple(self.answers(seen.flatten(1)).split(_SIZES, dim=1))


def labelled_batches(seed: int, size: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Endless single pictures with their six labels."""
    rng = Random(f"vision {seed}")
    while True:
        looks = [_labelled_image(rng) for _ in range(size)]
        pictures = np.stack([degrade(look.picture, rng) for look in looks])
        yield to_tensor(pictures), torch.tensor([look.labels for look in looks])


def _labelled_image(rng: Random) -> LabelledImage:
    """A frame of any video, of a signed shot, or a closer look at one of its cells."""
    seed, way = for_training(rng.randrange(DEV_FROM)), rng.random()
    if way < _PLAIN:
        return whole_frame(rng.choice(make_video(seed).shots), rng)
    shot = next(shot for shot in make_signed_video(seed).shots if shot.sign)
    return whole_frame(shot, rng) if way < _SIGNED else sign_close_up(shot, rng)


def whole_frame(shot: Shot, rng: Random) -> LabelledImage:
    """A whole frame of a shot."""
    frame = rng.randrange(shot.frames)
    column, row = (min(max(place * _CELLS // SIDE, 0), _CELLS - 1) for place in shot.place(frame))
    sign = 9 if shot.sign is None else shot.sign.cell
    shape, colour = SHAPES.index(shot.shape), COLOURS.index(shot.colour)
    return LabelledImage(training_frame(shot, frame), shape, colour, column, row, sign)


def sign_close_up(shot: Shot, rng: Random) -> LabelledImage:
    """A closer look at the cell of a shot's sign; now and then at another, where there is nothing to read."""
    sign = shot.sign or Sign("0", 0)
    cell = sign.cell if rng.random() < 0.8 else rng.randrange(9)
    picture = closer_look(shot, rng.randrange(shot.frames), crop_around(cell, rng))
    return LabelledImage(picture, digit=int(sign.digit) if cell == sign.cell else NO_DIGIT)


def vision_loss(probe: VisionProbe, seen: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Summed cross-entropy, and the share of right answers to each question."""
    logits = probe(seen)
    losses = [nn.functional.cross_entropy(each, labels[:, i], ignore_index=NO_LABEL) for i, each in enumerate(logits)]
    right = [_accuracy(each.argmax(1) == labels[:, i], labels[:, i]) for i, each in enumerate(logits)]
    return torch.stack(losses).sum(), torch.stack(right)


def _accuracy(right: Tensor, labels: Tensor) -> Tensor:
    told = (labels != NO_LABEL) & (labels != NO_DIGIT)
    return (right & told).sum() / told.sum().clamp(min=1)


def train_tower(tower: nn.Module, path: Path, device: str) -> None:
    """Train the tower and keep its weights; does nothing if that was done before."""
    if path.exists():
        tower.load_state_dict(torch.load(path, map_location=device, weights_only=True)["model"])
        return
    tower.to(device)
    probe = VisionProbe(vision_config().hidden_size, TOKENS_PER_FRAME).to(device)
    weights = [*tower.parameters(), *probe.parameters()]
    optimiser = torch.optim.AdamW(weights, lr=_RATE, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, _learning_rate_scale)
    stream = labelled_batches(0, _BATCH)
    for step in range(STEPS):
        pictures, labels = (each.to(device) for each in next(stream))
        with mixed_precision(device):
            seen = tower(pictures, output_hidden_states=True).hidden_states[-1]
        loss, right = vision_loss(probe, seen.float(), labels)
        optimiser.zero_grad()
        torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_(weights, 1.0)
        optimiser.step()
        schedule.step()
        if step % 250 == 0:
            shares = [round(share, 3) for share in right.tolist()]
            log.info("vision %d/%d: shape, colour, column, row, sign, digit right %s", step, STEPS, shares)
    torch.save({"model": tower.state_dict()}, path)


def _learning_rate_scale(step: int) -> float:
    """Warm up over 50 steps, hold, and fall over the last 40 %."""
    return min(1.0, (step + 1) / 50, max(0.05, (1 - step / STEPS) / 0.4))


_ALIGN_STEPS = 1500
_ALIGN_BATCH = 96
_ALIGN_RATE = 2e-3
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
        told = [
            (words, _label_or_none(labels[:, column], words))
            for words, column in zip(self.words, _COLUMNS, strict=True)
        ]
        wanted = torch.stack([words[label.clamp(min=0)] * (label >= 0)[:, None] for words, label in told]).sum(0)
        signed = (told[2][1] >= 0) | (told[3][1] >= 0)
        wanted = (wanted + self.sign * signed[:, None])[:, None]
        loss = (tokens - wanted).square().sum(-1).mean()
        right = []
        for words, label in told:
            logits = (_SHARPNESS * tokens @ words.T).flatten(0, 1)
            each = label.repeat_interleave(tokens.shape[1])
            loss = loss + 0.5 * nn.functional.cross_entropy(logits, each, ignore_index=NO_LABEL)
            right.append(((logits.argmax(1) == each) & (each >= 0)).sum() / (each >= 0).sum().clamp(min=1))
        return loss, torch.stack(right)


def _label_or_none(label: Tensor, words: Tensor) -> Tensor:
    """The label, or NO_LABEL where there is no word for it: no sign, nothing to read."""
    return label.masked_fill((label < 0) | (label >= len(words)), NO_LABEL)


def align_vision(
    model: LlavaForConditionalGeneration, tokenizer: PreTrainedTokenizerFast, path: Path, device: str
) -> None:
    """Train tower and projector against the decoder's words; does nothing if that was done before."""
    vision = nn.ModuleList([model.model.vision_tower, model.model.multi_modal_projector]).to(device)
    if path.exists():
        vision.load_state_dict(torch.load(path, map_location=device, weights_only=True)["model"])
        return
    alignment = Alignment(model.to(device), tokenizer)
    weights = list(vision.parameters())
    optimiser = torch.optim.AdamW(weights, lr=_ALIGN_RATE, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: max(0.05, 1 - step / _ALIGN_STEPS))
    stream = labelled_batches(1, _ALIGN_BATCH)
    for step in range(_ALIGN_STEPS):
        pictures, labels = (each.to(device) for each in next(stream))
        loss, right = alignment(image_tokens(model, pictures, device), labels)
        optimiser.zero_grad()
        torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_(weights, 1.0)
        optimiser.step()
        schedule.step()
        if step % 100 == 0:
            log.info(
                "align %d/%d: shape, colour, cell, digit right %s",
                step,
                _ALIGN_STEPS,
                [round(r, 3) for r in right.tolist()],
            )
    torch.save({"model": vision.state_dict()}, path)


def image_tokens(model: LlavaForConditionalGeneration, pictures: Tensor, device: str) -> Tensor:
    """What the decoder receives for each picture."""
    with mixed_precision(device):
        seen = model.model.vision_tower(pictures, output_hidden_states=True).hidden_states[-1]
        tokens: Tensor = model.model.multi_modal_projector(seen)
    return tokens.float().view(-1, TOKENS_PER_FRAME, tokens.shape[-1])
