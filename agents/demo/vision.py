"""Stage 1: the vision tower alone learns to name what one frame shows, where it is, and what a sign says."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random

import numpy as np
import torch
from torch import Tensor, nn

from agents.demo.draw import Pixels
from agents.demo.film import SIDE, Shot, Sign, make_film, make_signed_film
from agents.demo.model import TOKENS_PER_FRAME, vision_config
from agents.demo.precision import mixed
from agents.demo.seeds import DEV_FROM, for_training
from agents.demo.sight import around, closer_look, spoil, to_tensor, training_frame
from agents.demo.world import COLOURS, DIGITS, SHAPES

log = logging.getLogger(__name__)

STEPS = 6000
_BATCH = 128
_RATE = 1e-3
_CELLS = 6  # places along each axis that the tower must tell apart
_PLAIN, _SIGNED = 0.5, 0.7  # up to here films without signs, then signed ones, the rest closer looks
UNTOLD = -100
UNREAD = len(DIGITS)
_SIZES = [len(SHAPES), len(COLOURS), _CELLS, _CELLS, 10, len(DIGITS) + 1]


@dataclass(frozen=True, slots=True)
class Look:
    """A picture and what can be told from it; `UNTOLD` where nothing can.

    `sign` is the cell of a sign or 9 for none, `digit` what it says or 10 where that cannot be read.
    """

    picture: Pixels
    shape: int = UNTOLD
    colour: int = UNTOLD
    column: int = UNTOLD
    row: int = UNTOLD
    sign: int = UNTOLD
    digit: int = UNREAD

    @property
    def labels(self) -> tuple[int, ...]:
        """The right answers to the examiner's questions."""
        return self.shape, self.colour, self.column, self.row, self.sign, self.digit


class Examiner(nn.Module):
    """Six questions to the tower's tokens: shape, colour, column, row, sign, digit. Thrown away afterwards."""

    def __init__(self, width: int, tokens: int) -> None:
        super().__init__()
        self.answers = nn.Linear(width * tokens, sum(_SIZES))

    def forward(self, seen: Tensor) -> tuple[Tensor, ...]:
        """Logits for each of the six questions."""
        return tuple(self.answers(seen.flatten(1)).split(_SIZES, dim=1))


def batches(seed: int, size: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Endless single pictures with their six labels."""
    rng = Random(f"vision {seed}")
    while True:
        looks = [_look(rng) for _ in range(size)]
        pictures = np.stack([spoil(look.picture, rng) for look in looks])
        yield to_tensor(pictures), torch.tensor([look.labels for look in looks])


def _look(rng: Random) -> Look:
    """A frame of any film, of a signed shot, or a closer look at one of its cells."""
    seed, way = for_training(rng.randrange(DEV_FROM)), rng.random()
    if way < _PLAIN:
        return whole(rng.choice(make_film(seed).shots), rng)
    shot = next(shot for shot in make_signed_film(seed).shots if shot.sign)
    return whole(shot, rng) if way < _SIGNED else close(shot, rng)


def whole(shot: Shot, rng: Random) -> Look:
    """A whole frame of a shot."""
    frame = rng.randrange(shot.frames)
    column, row = (min(max(place * _CELLS // SIDE, 0), _CELLS - 1) for place in shot.place(frame))
    sign = 9 if shot.sign is None else shot.sign.cell
    shape, colour = SHAPES.index(shot.shape), COLOURS.index(shot.colour)
    return Look(training_frame(shot, frame), shape, colour, column, row, sign)


def close(shot: Shot, rng: Random) -> Look:
    """A closer look at the cell of a shot's sign; now and then at another, where there is nothing to read."""
    sign = shot.sign or Sign("0", 0)
    cell = sign.cell if rng.random() < 0.8 else rng.randrange(9)
    picture = closer_look(shot, rng.randrange(shot.frames), around(cell, rng))
    return Look(picture, digit=int(sign.digit) if cell == sign.cell else UNREAD)


def loss_of(examiner: Examiner, seen: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Summed cross-entropy, and the share of right answers to each question."""
    logits = examiner(seen)
    losses = [nn.functional.cross_entropy(each, labels[:, i], ignore_index=UNTOLD) for i, each in enumerate(logits)]
    right = [_share(each.argmax(1) == labels[:, i], labels[:, i]) for i, each in enumerate(logits)]
    return torch.stack(losses).sum(), torch.stack(right)


def _share(right: Tensor, labels: Tensor) -> Tensor:
    told = (labels != UNTOLD) & (labels != UNREAD)
    return (right & told).sum() / told.sum().clamp(min=1)


def train_tower(tower: nn.Module, path: Path, device: str) -> None:
    """Train the tower and keep its weights; does nothing if that was done before."""
    if path.exists():
        tower.load_state_dict(torch.load(path, map_location=device, weights_only=True)["model"])
        return
    tower.to(device)
    examiner = Examiner(vision_config().hidden_size, TOKENS_PER_FRAME).to(device)
    weights = [*tower.parameters(), *examiner.parameters()]
    optimiser = torch.optim.AdamW(weights, lr=_RATE, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, _share_of_rate)
    stream = batches(0, _BATCH)
    for step in range(STEPS):
        pictures, labels = (each.to(device) for each in next(stream))
        with mixed(device):
            seen = tower(pictures, output_hidden_states=True).hidden_states[-1]
        loss, right = loss_of(examiner, seen.float(), labels)
        optimiser.zero_grad()
        torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_(weights, 1.0)
        optimiser.step()
        schedule.step()
        if step % 250 == 0:
            shares = [round(share, 3) for share in right.tolist()]
            log.info("vision %d/%d: shape, colour, column, row, sign, digit right %s", step, STEPS, shares)
    torch.save({"model": tower.state_dict()}, path)


def _share_of_rate(step: int) -> float:
    """Warm up over 50 steps, hold, and fall over the last 40 %."""
    return min(1.0, (step + 1) / 50, max(0.05, (1 - step / STEPS) / 0.4))
