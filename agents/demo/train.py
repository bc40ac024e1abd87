"""Train the demo model stage by stage. A run that was stopped goes on where it was."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from transformers import LlavaForConditionalGeneration, PreTrainedTokenizerFast

from agents.demo.batch import Batch
from agents.demo.curriculum import JOINING, READING, Phase, Stage, batches
from agents.demo.learn import Learner, new_learner
from agents.demo.model import new_model, new_processor, save
from agents.demo.tokens import TEMPLATE, new_tokenizer
from agents.demo.vision import train_tower

log = logging.getLogger(__name__)

STAGES = ("vision", "reading", "joining")
_SAVE_EVERY = 60.0  # seconds


def train(out: Path, scratch: Path, stages: tuple[str, ...], device: str) -> None:
    """Run the stages in order; write checkpoints to `scratch` and the finished model to `out`."""
    scratch.mkdir(parents=True, exist_ok=True)
    tokenizer = _tokenizer(scratch / "tokenizer")
    model = new_model(tokenizer)
    if "vision" in stages:
        train_tower(model.model.vision_tower, scratch / "vision.pt", device)
    if "reading" in stages:
        run(READING, model, tokenizer, scratch, device)
    if "joining" in stages:
        _inherit(model, scratch, device)
        run(JOINING, model, tokenizer, scratch, device)
        save(model.cpu(), new_processor(tokenizer, TEMPLATE), out)
        log.info("wrote %s", out)


def run(
    stage: Stage,
    model: LlavaForConditionalGeneration,
    tokenizer: PreTrainedTokenizerFast,
    scratch: Path,
    device: str,
) -> None:
    """One stage, from its checkpoint if it has one."""
    learner = new_learner(model, stage.rate, stage.eyes, device)
    path = scratch / f"{stage.name}.pt"
    if learner.resume(path):
        log.info("%s goes on at step %d", stage.name, learner.step)
    saved = time.monotonic()
    for phase, at, batch in _steps(stage, tokenizer, learner):
        scale = 1 - at / phase.steps if phase.fade else 1.0
        loss = learner.learn(batch, max(scale, 0.02))
        if learner.step % 25 == 0:
            log.info("%s/%s %d/%d loss %.3f", stage.name, phase.name, at + 1, phase.steps, loss)
        if time.monotonic() - saved > _SAVE_EVERY:
            learner.save(path)
            saved = time.monotonic()
    learner.save(path)


def _steps(stage: Stage, tokenizer: PreTrainedTokenizerFast, learner: Learner) -> Iterator[tuple[Phase, int, Batch]]:
    done = 0
    for phase in stage.phases:
        stream = batches(phase, tokenizer, f"from {learner.step}", stage.pictures)
        while learner.step < done + phase.steps:
            yield phase, learner.step - done, next(stream)
        done += phase.steps


def _tokenizer(folder: Path) -> PreTrainedTokenizerFast:
    """The tokenizer of this run: its ids must not change under a model that has learned them."""
    if not folder.exists():
        new_tokenizer().save_pretrained(folder)
    return PreTrainedTokenizerFast.from_pretrained(folder)


def _inherit(model: LlavaForConditionalGeneration, scratch: Path, device: str) -> None:
    """Take the decoder from the reading stage and the eyes from the vision stage."""
    for name in ("reading", "vision"):
        path = scratch / f"{name}.pt"
        if not path.exists():
            raise FileNotFoundError(f"{path}: run stage {name} first")
        state = torch.load(path, map_location=device, weights_only=True)["model"]
        target = model if name == "reading" else model.model.vision_tower
        target.load_state_dict(state)
