"""Train the demo model stage by stage. A run that was stopped goes on where it was."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import nn
from transformers import LlavaForConditionalGeneration, PreTrainedTokenizerFast

from agents.demo import WEIGHTS
from agents.demo.align import align
from agents.demo.batch import Batch
from agents.demo.curriculum import JOINING, READING, SEEKING, Phase, Stage, batches
from agents.demo.learn import Learner, new_learner
from agents.demo.model import new_model, new_processor, save
from agents.demo.tokens import TEMPLATE, new_tokenizer, word_ids
from agents.demo.vision import train_tower
from agents.demo.world import SEEN

log = logging.getLogger(__name__)

STAGES = ("vision", "reading", "seeking", "align", "joining")
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
    if "seeking" in stages:
        _inherit("reading", model, scratch, device)
        run(SEEKING, model, tokenizer, scratch, device)
    if "align" in stages:
        _see(model, scratch, device)
        align(model, tokenizer, scratch / "align.pt", device)
    if "joining" in stages:
        _see(model, scratch, device)
        align(model, tokenizer, scratch / "align.pt", device)
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
    learner = new_learner(model, stage.rate, stage.eyes, stage.hint, device)
    if not stage.pictures:
        learner.fixed = torch.tensor(word_ids(SEEN, tokenizer), device=device)
    path = scratch / f"{stage.name}.pt"
    if learner.resume(path):
        log.info("%s goes on at phase %d, step %d", stage.name, learner.phase, learner.step)
    while learner.phase < len(stage.phases):
        phase = stage.phases[learner.phase]
        stream = batches(phase, tokenizer, f"{learner.phase} from {learner.step}", stage.pictures)
        _teach(learner, phase, stream, path)
        learner.next_phase()
        learner.save(path)


def _teach(learner: Learner, phase: Phase, stream: Iterator[Batch], path: Path) -> None:
    """One phase: until it is mastered, or its steps are over."""
    saved = time.monotonic()
    while learner.step < phase.steps and learner.mastered < phase.enough:
        scale = 1 - learner.step / phase.steps if phase.fade else 1.0
        loss = learner.learn(next(stream), max(scale, 0.02))
        if learner.step % 25 == 0:
            log.info("%s %d/%d loss %.3f right %.3f", phase.name, learner.step, phase.steps, loss, learner.mastered)
        if time.monotonic() - saved > _SAVE_EVERY:
            learner.save(path)
            saved = time.monotonic()


def _tokenizer(folder: Path) -> PreTrainedTokenizerFast:
    """The tokenizer of this run, else that of the committed model: ids must not change under what was learned."""
    if folder.exists():
        return PreTrainedTokenizerFast.from_pretrained(folder)
    committed = (WEIGHTS / "tokenizer.json").exists()
    tokenizer = PreTrainedTokenizerFast.from_pretrained(WEIGHTS) if committed else new_tokenizer()
    if len(set(word_ids(SEEN, tokenizer))) < len(SEEN):
        tokenizer = new_tokenizer()  # the committed one is older than some words that a frame may be read as
    tokenizer.save_pretrained(folder)
    return tokenizer


def _see(model: LlavaForConditionalGeneration, scratch: Path, device: str) -> None:
    """Take the decoder from the seeking stage and the eyes from the vision stage."""
    _inherit("seeking", model, scratch, device)
    _inherit("vision", model.model.vision_tower, scratch, device)


def _inherit(stage: str, model: nn.Module, scratch: Path, device: str) -> None:
    """Go on from what an earlier stage has learned."""
    path = scratch / f"{stage}.pt"
    if not path.exists():
        raise FileNotFoundError(f"{path}: run stage {stage} first")
    model.load_state_dict(torch.load(path, map_location=device, weights_only=True)["model"])
