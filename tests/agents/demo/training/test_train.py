"""Training in miniature: a stage runs, stops, and goes on where it was; pictures can be held to words."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from transformers import LlavaForConditionalGeneration, PreTrainedTokenizerFast

from agents.demo.generator import COLOURS
from agents.demo.training.curriculum import JOINING, READING, TrainingPhase, TrainingStage
from agents.demo.training.evaluate import DemoCheckpoint
from agents.demo.training.model import new_model, new_processor, save_model
from agents.demo.training.tokenizer import CHAT_TEMPLATE, word_ids
from agents.demo.training.train import new_learner, train_stage
from agents.demo.training.vision import Alignment, image_tokens, labelled_batches

_TINY = TrainingPhase("tiny", 2, (2,), {"fact": 1, "think": 1}, tokens=400)


@pytest.fixture
def model(tokenizer: PreTrainedTokenizerFast) -> LlavaForConditionalGeneration:
    return new_model(tokenizer)


@pytest.mark.parametrize("stage", [READING, JOINING], ids=lambda stage: stage.name)
def test_a_stage_goes_on_where_it_stopped(
    stage: TrainingStage, model: LlavaForConditionalGeneration, tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    short = replace(stage, phases=(_TINY,))
    train_stage(short, model, tokenizer, tmp_path, "cpu")
    learner = new_learner(new_model(tokenizer, seed=1), stage.rate, stage.tower_rate, stage.hint, "cpu")
    assert learner.resume(tmp_path / f"{stage.name}.pt")
    assert learner.phase == 1
    before = {name: value.clone() for name, value in learner.model.state_dict().items()}
    train_stage(short, learner.model, tokenizer, tmp_path, "cpu")
    assert all(torch.equal(value, before[name]) for name, value in learner.model.state_dict().items())
    train_stage(replace(stage, phases=(_TINY, _TINY)), learner.model, tokenizer, tmp_path, "cpu")
    assert not all(torch.equal(value, before[name]) for name, value in learner.model.state_dict().items())


def test_words_that_frames_are_told_in_keep_their_embeddings(
    model: LlavaForConditionalGeneration, tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    ids = word_ids(COLOURS, tokenizer)
    before = model.get_input_embeddings().weight[ids].detach().clone()
    train_stage(replace(READING, phases=(_TINY,)), model, tokenizer, tmp_path, "cpu")
    assert torch.equal(model.get_input_embeddings().weight[ids], before)


def test_alignment_pulls_pictures_towards_words(
    model: LlavaForConditionalGeneration, tokenizer: PreTrainedTokenizerFast
) -> None:
    alignment = Alignment(model, tokenizer)
    pictures, labels = next(labelled_batches(0, 16))
    weights = [*model.model.vision_tower.parameters(), *model.model.multi_modal_projector.parameters()]
    optimiser = torch.optim.AdamW(weights, lr=1e-3)
    losses = []
    for _ in range(8):
        loss, _ = alignment(image_tokens(model, pictures, "cpu"), labels)
        optimiser.zero_grad()
        torch.autograd.backward(loss)
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.8 * losses[0]


def test_what_is_saved_can_be_loaded(
    model: LlavaForConditionalGeneration, tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    save_model(model, new_processor(tokenizer, CHAT_TEMPLATE), tmp_path)
    checkpoint = DemoCheckpoint(tmp_path)
    assert checkpoint.processor.tokenizer.image_token == "<image>"
    kept = checkpoint.model.get_input_embeddings().weight
    assert torch.allclose(kept, model.get_input_embeddings().weight, atol=0.01)
