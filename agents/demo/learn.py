"""One optimisation step, and the state that a run needs to go on after a break."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from transformers import LlavaForConditionalGeneration

from agents.demo.batch import Batch
from agents.demo.branching import NAME as BRANCHING

_HINT = 0.5  # weight of the hints in the loss
_KNOWN_BY = 4  # layers after which the answer's word should be known
_WARM = 50  # steps until the learning rate is reached


@dataclass
class Learner:
    """A model with its optimiser and how far it is."""

    model: LlavaForConditionalGeneration
    optimiser: torch.optim.Optimizer
    device: str
    step: int = 0

    def learn(self, batch: Batch, scale: float) -> float:
        """One step; `scale` is the share of the full learning rate. Returns the loss."""
        for group in self.optimiser.param_groups:
            group["lr"] = group["full"] * scale * min(1.0, (self.step + 1) / _WARM)
        loss = loss_of(self.model, batch, self.device)
        self.optimiser.zero_grad()
        torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimiser.step()
        self.step += 1
        return loss.item()

    def save(self, path: Path) -> None:
        """Write the state so that a crash leaves either the old or the new file."""
        fresh = path.with_suffix(".new")
        weights, moments = self.model.state_dict(), self.optimiser.state_dict()
        torch.save({"model": weights, "optimiser": moments, "step": self.step}, fresh)
        fresh.replace(path)

    def resume(self, path: Path) -> bool:
        """Go on where a run of this stage stopped, if one did."""
        if not path.exists():
            return False
        state = torch.load(path, map_location=self.device, weights_only=True)
        self.model.load_state_dict(state["model"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.step = state["step"]
        return True


def new_learner(model: LlavaForConditionalGeneration, rate: float, eyes: float, device: str) -> Learner:
    """AdamW; the vision tower learns at its own rate, `eyes`."""
    model.to(device)
    model.model.language_model.config._attn_implementation = BRANCHING
    tower = list(model.model.vision_tower.parameters())
    seen = {id(each) for each in tower}
    rest = [each for each in model.parameters() if id(each) not in seen]
    groups = [{"params": rest, "full": rate}, {"params": tower, "full": eyes}]
    return Learner(model, torch.optim.AdamW(groups, lr=rate, weight_decay=0.01, betas=(0.9, 0.98)), device)


def loss_of(model: LlavaForConditionalGeneration, batch: Batch, device: str) -> Tensor:
    """Weighted cross-entropy over what the model should say."""
    following, weights = (each.to(device) for each in batch.targets)
    wanted = weights > 0
    layers = layers_of(model, batch, device)
    losses = nn.functional.cross_entropy(say(model, layers[-1], wanted), following[wanted], reduction="none")
    loss = (losses * weights[wanted]).sum() / weights[wanted].sum()
    return loss + _HINT * _hint_loss(model, layers[_KNOWN_BY], batch.hints.to(device))


def _hint_loss(model: LlavaForConditionalGeneration, layer: Tensor, hints: Tensor) -> Tensor:
    """How far the answer's word is from mind, half-way up the decoder, where it is needed to find its letter."""
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
    with torch.autocast(device, torch.bfloat16):
        layers: tuple[Tensor, ...] = model.model(
            input_ids=batch.ids.to(device),
            pixel_values=None if batch.pixels is None else batch.pixels.to(device),
            position_ids=batch.places.to(device),
            trunk_mask=batch.trunk_mask.to(device),
            branches=batch.branches,
            use_cache=False,
            output_hidden_states=True,
        ).hidden_states
    return layers


def say(model: LlavaForConditionalGeneration, hidden: Tensor, wanted: Tensor) -> Tensor:
    """Logits of the words that come to mind at the wanted places."""
    with torch.autocast(hidden.device.type, torch.bfloat16):
        logits: Tensor = model.lm_head(hidden[wanted])
    return logits.float()
