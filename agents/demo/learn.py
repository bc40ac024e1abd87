"""One optimisation step, and the state that a run needs to go on after a break."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from transformers import LlavaForConditionalGeneration

from agents.demo.batch import Batch
from agents.demo.branching import NAME as BRANCHING
from agents.demo.model import TOKENS_PER_FRAME
from agents.demo.precision import mixed

_BLUR = 0.03  # noise on frames that are told in words, so that no exact vector is relied on
_KNOWN_BY = 3  # layers after which the answer's word should be known
_MEMORY = 0.97  # of the running share of right words, by which a phase is judged
_WARM = 50  # steps until the learning rate is reached


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
    mastered: float = 0.0

    def learn(self, batch: Batch, scale: float) -> float:
        """One step; `scale` is the share of the full learning rate. Returns the loss."""
        for group in self.optimiser.param_groups:
            group["lr"] = group["full"] * scale * min(1.0, (self.step + 1) / _WARM)
        loss, right = loss_of(self.model, batch, self.hint, self.device)
        self.optimiser.zero_grad()
        torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self._step()
        self.step += 1
        self.mastered = _MEMORY * self.mastered + (1 - _MEMORY) * right
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
        self.phase, self.step, self.mastered = self.phase + 1, 0, 0.0

    def save(self, path: Path) -> None:
        """Write the state so that a crash leaves either the old or the new file."""
        fresh = path.with_suffix(".new")
        progress = {"phase": self.phase, "step": self.step, "mastered": self.mastered}
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


def new_learner(model: LlavaForConditionalGeneration, rate: float, eyes: float, hint: float, device: str) -> Learner:
    """AdamW; the vision tower learns at its own rate, `eyes`."""
    model.to(device)
    model.model.language_model.config._attn_implementation = BRANCHING
    tower = list(model.model.vision_tower.parameters())
    seen = {id(each) for each in tower}
    rest = [each for each in model.parameters() if id(each) not in seen]
    groups = [{"params": rest, "full": rate}, {"params": tower, "full": eyes}]
    return Learner(model, torch.optim.AdamW(groups, lr=rate, weight_decay=0.01, betas=(0.9, 0.98)), device, hint)


def loss_of(model: LlavaForConditionalGeneration, batch: Batch, hint: float, device: str) -> tuple[Tensor, float]:
    """Weighted cross-entropy over what the model should say, and the share of decisive words that it says."""
    following, weights = (each.to(device) for each in batch.targets)
    wanted = weights > 0
    layers = layers_of(model, batch, device)
    logits, weights = say(model, layers[-1], wanted), weights[wanted]
    losses = nn.functional.cross_entropy(logits, following[wanted], reduction="none")
    loss = (losses * weights).sum() / weights.sum()
    decisive = weights == weights.max()
    right = (logits.argmax(1) == following[wanted])[decisive].float().mean().item()
    return loss + hint * _hint_loss(model, layers[_KNOWN_BY], batch.hints.to(device)), right


def _hint_loss(model: LlavaForConditionalGeneration, layer: Tensor, hints: Tensor) -> Tensor:
    """How far the answer's word is from mind, half-way up the decoder, while there are layers left to use it."""
    wanted = hints >= 0
    if not wanted.any():
        return layer.new_zeros(())
    logits = say(model, model.model.language_model.norm(layer), wanted)
    return nn.functional.cross_entropy(logits, hints[wanted])


def logits_of(model: LlavaForConditionalGeneration, batch: Batch, wanted: Tensor, device: str) -> Tensor:
    """What the model would say next, at the wanted places only."""
    return say(model, layers_of(model, batch, device)[-1], wanted)


def layers_of(model: LlavaForConditionalGeneration, batch: Batch, device: str) -> tuple[Tensor, ...]:
    """Hidden states after the embedding and after each layer; the last one is normalised."""
    with mixed(device):
        layers: tuple[Tensor, ...] = model.model.language_model(
            inputs_embeds=_embed(model, batch, device),
            position_ids=batch.places.to(device),
            trunk_mask=batch.trunk_mask.to(device),
            branches=batch.branches,
            use_cache=False,
            output_hidden_states=True,
        ).hidden_states
    return layers


def _embed(model: LlavaForConditionalGeneration, batch: Batch, device: str) -> Tensor:
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


def say(model: LlavaForConditionalGeneration, hidden: Tensor, wanted: Tensor) -> Tensor:
    """Logits of the words that come to mind at the wanted places."""
    with mixed(hidden.device.type):
        logits: Tensor = model.lm_head(hidden[wanted])
    return logits.float()
