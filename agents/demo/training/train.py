"""Train the demo model stage by stage. A run that was stopped resumes from its checkpoints."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from transformers import LlavaForConditionalGeneration, PreTrainedTokenizerFast

from agents.demo import WEIGHTS
from agents.demo.generator import SEEN
from agents.demo.training.batch import TrainingBatch
from agents.demo.training.curriculum import JOINING, READING, SEEKING, TrainingPhase, TrainingStage, batches
from agents.demo.training.model import BRANCHING as BRANCHING
from agents.demo.training.model import TOKENS_PER_FRAME, mixed_precision, new_model, new_processor, save_model
from agents.demo.training.tokenizer import CHAT_TEMPLATE, new_tokenizer, word_ids
from agents.demo.training.vision import align_vision, train_tower

_BLUR = 0.03  # noise on frames that are told in words, so that no exact vector is relied on
_KNOWN_BY = 3  # layers after which the answer's word should be known
_MEMORY = 0.97  # of the running share of right words, by which a phase is judged
_WARMUP_STEPS = 50  # steps until the learning rate is reached


@dataclass
class Learner:
    """A model with its optimiser, and how far it is: the phase, the step in it, how much of it is mastered."""

    model: LlavaForConditionalGeneration
    optimiser: torch.optim.Optimizer
    device: str
    hint: float  # weight of the hints in the loss
    fixed: Tensor | None = None  # words whose embeddings stay, because frames are told in them
    phase: int = 0
    step: int = 0
    running_accuracy: float = 0.0

    def learn(self, batch: TrainingBatch, scale: float) -> float:
        """One step; `scale` is the share of the full learning rate. Returns the loss."""
        for group in self.optimiser.param_groups:
            group["lr"] = group["full"] * scale * min(1.0, (self.step + 1) / _WARMUP_STEPS)
        loss, right = training_loss(self.model, batch, self.hint, self.device)
        self.optimiser.zero_grad()
        torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self._step()
        self.step += 1
        self.running_accuracy = _MEMORY * self.running_accuracy + (1 - _MEMORY) * right
        return loss.item()

    def _step(self) -> None:
        table = self.model.get_input_embeddings().weight
        kept = None if self.fixed is None else table[self.fixed].detach().clone()
        self.optimiser.step()
        if kept is not None:
            with torch.no_grad():
                table[self.fixed] = kept

    def next_phase(self) -> None:
        """Begin the next phase."""
        self.phase, self.step, self.running_accuracy = self.phase + 1, 0, 0.0

    def save(self, path: Path) -> None:
        """Write the state so that a crash leaves either the old or the new file."""
        fresh = path.with_suffix(".new")
        progress = {"phase": self.phase, "step": self.step, "mastered": self.running_accuracy}
        weights, moments = self.model.state_dict(), self.optimiser.state_dict()
        torch.save({"model": weights, "optimiser": moments, "progress": progress}, fresh)
        fresh.replace(path)

    def resume(self, path: Path) -> bool:
        """Go on where a run of this stage stopped, if one did."""
        if not path.exists():
            return False
        state = torch.load(path, map_location=self.device, weights_only=True)
        self.model.load_state_dict(state["model"])
        self.optimiser.load_state_dict(state["optimiser"])
        for name, value in state["progress"].items():
            setattr(self, name, value)
        return True


def new_learner(
    model: LlavaForConditionalGeneration, rate: float, tower_rate: float, hint: float, device: str
) -> Learner:
    """AdamW; the vision tower learns at `tower_rate`."""
    model.to(device)
    model.model.language_model.config._attn_implementation = BRANCHING
    tower = list(model.model.vision_tower.parameters())
    seen = {id(each) for each in tower}
    rest = [each for each in model.parameters() if id(each) not in seen]
    groups = [{"params": rest, "full": rate}, {"params": tower, "full": tower_rate}]
    return Learner(model, torch.optim.AdamW(groups, lr=rate, weight_decay=0.01, betas=(0.9, 0.98)), device, hint)


def training_loss(
    model: LlavaForConditionalGeneration, batch: TrainingBatch, hint: float, device: str
) -> tuple[Tensor, float]:
    """Weighted cross-entropy over what the model should say, and the share of decisive words that it says."""
    following, weights = (each.to(device) for each in batch.targets)
    wanted = weights > 0
    layers = hidden_layers(model, batch, device)
    logits, weights = word_logits(model, layers[-1], wanted), weights[wanted]
    losses = nn.functional.cross_entropy(logits, following[wanted], reduction="none")
    loss = (losses * weights).sum() / weights.sum()
    decisive = weights == weights.max()
    right = (logits.argmax(1) == following[wanted])[decisive].float().mean().item()
    return loss + hint * _hint_loss(model, layers[_KNOWN_BY], batch.hints.to(device)), right


def _hint_loss(model: LlavaForConditionalGeneration, layer: Tensor, hints: Tensor) -> Tensor:
    """Cross-entropy of the answer's word half-way up the decoder, while there are layers left to use it."""
    wanted = hints >= 0
    if not wanted.any():
        return layer.new_zeros(())
    logits = word_logits(model, model.model.language_model.norm(layer), wanted)
    return nn.functional.cross_entropy(logits, hints[wanted])


def logits_of(model: LlavaForConditionalGeneration, batch: TrainingBatch, wanted: Tensor, device: str) -> Tensor:
    """What the model would say next, at the wanted places only."""
    return word_logits(model, hidden_layers(model, batch, device)[-1], wanted)


def hidden_layers(model: LlavaForConditionalGeneration, batch: TrainingBatch, device: str) -> tuple[Tensor, ...]:
    """Hidden states after the embedding and after each layer; the last one is normalised."""
    with mixed_precision(device):
        layers: tuple[Tensor, ...] = model.model.language_model(
            inputs_embeds=_embed(model, batch, device),
            position_ids=batch.places.to(device),
            trunk_mask=batch.trunk_mask.to(device),
            branches=batch.branches,
            use_cache=False,
            output_hidden_states=True,
        ).hidden_states
    return layers


def _embed(model: LlavaForConditionalGeneration, batch: TrainingBatch, device: str) -> Tensor:
    """Embeddings of text and frames. Named frames are the sum of their words, a little blurred, at each place."""
    ids = batch.ids.to(device)
    table = model.get_input_embeddings()
    embedded: Tensor = table(ids)
    if batch.pixels is not None:
        frames = torch.cat(list(model.model.get_image_features(batch.pixels.to(device)).pooler_output))
    elif batch.words is not None:
        words = batch.words.to(device)
        told = (words >= 0).unsqueeze(-1)
        frames = (table.weight.detach()[words.clamp(min=0)] * told).sum(1).repeat_interleave(TOKENS_PER_FRAME, 0)
        frames = frames + _BLUR * torch.randn_like(frames)
    else:
        return embedded
    place = (ids == model.config.image_token_id).unsqueeze(-1)
    return embedded.masked_scatter(place, frames.to(embedded.dtype))


def word_logits(model: LlavaForConditionalGeneration, hidden: Tensor, wanted: Tensor) -> Tensor:
    """Next-token logits at the wanted places."""
    with mixed_precision(hidden.device.type):
        logits: Tensor = model.lm_head(hidden[wanted])
    return logits.float()


log = logging.getLogger(__name__)

STAGES = ("vision", "reading", "seeking", "align", "joining")
_SAVE_EVERY = 60.0  # seconds


def train_model(out: Path, scratch: Path, stages: tuple[str, ...], device: str) -> None:
    """Run the stages in order; write checkpoints to `scratch` and the finished model to `out`."""
    scratch.mkdir(parents=True, exist_ok=True)
    tokenizer = _tokenizer(scratch / "tokenizer")
    model = new_model(tokenizer)
    if "vision" in stages:
        train_tower(model.model.vision_tower, scratch / "vision.pt", device)
    if "reading" in stages:
        train_stage(READING, model, tokenizer, scratch, device)
    if "seeking" in stages:
        _load_stage("reading", model, scratch, device)
        train_stage(SEEKING, model, tokenizer, scratch, device)
    if "align" in stages:
        _load_seeking_and_vision(model, scratch, device)
        align_vision(model, tokenizer, scratch / "align.pt", device)
    if "joining" in stages:
        _load_seeking_and_vision(model, scratch, device)
        align_vision(model, tokenizer, scratch / "align.pt", device)
        train_stage(JOINING, model, tokenizer, scratch, device)
        save_model(model.cpu(), new_processor(tokenizer, CHAT_TEMPLATE), out)
        log.info("wrote %s", out)


def train_stage(
    stage: TrainingStage,
    model: LlavaForConditionalGeneration,
    tokenizer: PreTrainedTokenizerFast,
    scratch: Path,
    device: str,
) -> None:
    """One stage, from its checkpoint if it has one."""
    learner = new_learner(model, stage.rate, stage.tower_rate, stage.hint, device)
    if not stage.pictures:
        learner.fixed = torch.tensor(word_ids(SEEN, tokenizer), device=device)
    path = scratch / f"{stage.name}.pt"
    if learner.resume(path):
        log.info("%s goes on at phase %d, step %d", stage.name, learner.phase, learner.step)
    while learner.phase < len(stage.phases):
        phase = stage.phases[learner.phase]
        stream = batches(phase, tokenizer, f"{learner.phase} from {learner.step}", stage.pictures)
        _train_phase(learner, phase, stream, path)
        learner.next_phase()
        learner.save(path)


def _train_phase(learner: Learner, phase: TrainingPhase, stream: Iterator[TrainingBatch], path: Path) -> None:
    """One phase: until it is mastered, or its steps are over."""
    saved = time.monotonic()
    while learner.step < phase.steps and learner.running_accuracy < phase.enough:
        scale = 1 - learner.step / phase.steps if phase.fade else 1.0
        loss = learner.learn(next(stream), max(scale, 0.02))
        if learner.step % 25 == 0:
            log.info(
                "%s %d/%d loss %.3f right %.3f", phase.name, learner.step, phase.steps, loss, learner.running_accuracy
            )
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


def _load_seeking_and_vision(model: LlavaForConditionalGeneration, scratch: Path, device: str) -> None:
    """Take the decoder from the seeking stage and the tower from the vision stage."""
    _load_stage("seeking", model, scratch, device)
    _load_stage("vision", model.model.vision_tower, scratch, device)


def _load_stage(stage: str, model: nn.Module, scratch: Path, device: str) -> None:
    """Go on from what an earlier stage has learned."""
    path = scratch / f"{stage}.pt"
    if not path.exists():
        raise FileNotFoundError(f"{path}: run stage {stage} first")
    model.load_state_dict(torch.load(path, map_location=device, weights_only=True)["model"])
