"""Stage 1: the vision tower alone learns to name what one frame shows and where it is."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from random import Random

import numpy as np
import torch
from torch import Tensor, nn

from agents.demo.draw import Pixels
from agents.demo.film import SIDE, make_film
from agents.demo.model import TOKENS_PER_FRAME, vision_config
from agents.demo.seeds import for_training
from agents.demo.sight import spoil, to_tensor, training_frame
from agents.demo.world import COLOURS, SHAPES

log = logging.getLogger(__name__)

STEPS = 6000
_BATCH = 128
_RATE = 1e-3
_CELLS = 6  # places along each axis that the tower must tell apart


class Examiner(nn.Module):
    """Four questions to the tower's tokens: shape, colour, column, row. Thrown away afterwards."""

    def __init__(self, width: int, tokens: int) -> None:
        super().__init__()
        self.answers = nn.Linear(width * tokens, len(SHAPES) + len(COLOURS) + 2 * _CELLS)

    def forward(self, seen: Tensor) -> tuple[Tensor, ...]:
        """Logits for each of the four questions."""
        sizes = [len(SHAPES), len(COLOURS), _CELLS, _CELLS]
        return tuple(self.answers(seen.flatten(1)).split(sizes, dim=1))


def batches(seed: int, size: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Endless single frames with their four labels."""
    rng = Random(f"vision {seed}")
    while True:
        pictures: list[Pixels] = []
        labels: list[tuple[int, int, int, int]] = []
        while len(pictures) < size:
            shot = rng.choice(make_film(for_training(rng.randrange(900_000_000))).shots)
            frame = rng.randrange(shot.frames)
            x, y = shot.place(frame)
            pictures.append(spoil(training_frame(shot, frame), rng))
            labels.append(
                (SHAPES.index(shot.shape), COLOURS.index(shot.colour), x * _CELLS // SIDE, y * _CELLS // SIDE)
            )
        yield to_tensor(np.stack(pictures)), torch.tensor(labels).clamp(0, _CELLS - 1)


def loss_of(examiner: Examiner, seen: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Summed cross-entropy, and the share of right answers to each question."""
    logits = examiner(seen)
    losses = [nn.functional.cross_entropy(each, labels[:, i]) for i, each in enumerate(logits)]
    right = [(each.argmax(1) == labels[:, i]).float().mean() for i, each in enumerate(logits)]
    return torch.stack(losses).sum(), torch.stack(right)


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
        with torch.autocast(device, torch.bfloat16):
            seen = tower(pictures, output_hidden_states=True).hidden_states[-1]
        loss, right = loss_of(examiner, seen.float(), labels)
        optimiser.zero_grad()
        torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_(weights, 1.0)
        optimiser.step()
        schedule.step()
        if step % 250 == 0:
            shares = [round(share, 3) for share in right.tolist()]
            log.info("vision %d/%d: shape, colour, column, row right %s", step, STEPS, shares)
    torch.save({"model": tower.state_dict()}, path)


def _share_of_rate(step: int) -> float:
    """Warm up over 50 steps, hold, and fall over the last 40 %."""
    return min(1.0, (step + 1) / 50, max(0.05, (1 - step / STEPS) / 0.4))
