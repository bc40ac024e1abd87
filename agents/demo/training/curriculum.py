"""What is taught when: each phase fails without the one before it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

import numpy as np
import torch
from transformers import PreTrainedTokenizerFast

from agents.demo.encoder import Pixels
from agents.demo.generator import DEV_FROM, SEEN, for_training, make_video
from agents.demo.questions import KINDS, ask_about
from agents.demo.training.augment import closer_look, crop_around, degrade, to_tensor, training_frame
from agents.demo.training.batch import TokenTree, TrainingBatch, collate, frame_placeholders, make_tree, padded_size
from agents.demo.training.examples import (
    ExampleTurn,
    VideoView,
    ViewedFrame,
    describe_turn,
    is_proven,
    make_turn,
    random_times,
    view_video,
)
from agents.demo.training.paraphrases import system_text
from agents.demo.training.planner_examples import PLANNER_EXAMPLES
from agents.demo.training.tokenizer import word_ids


@dataclass(frozen=True, slots=True)
class TrainingPhase:
    """A mix of examples. `unknown` is the share of videos in which questions are asked whether seen or not."""

    name: str
    steps: int
    frames: tuple[int, ...]
    forms: dict[str, float]
    kinds: tuple[str, ...] = KINDS
    unknown: float = 0.0
    tokens: int = 8000
    turns: int = 6
    enough: float = 2.0  # share of decisive words that ends the phase early; 2 is never
    fade: bool = False  # whether the learning rate falls to nothing over this phase


@dataclass(frozen=True, slots=True)
class TrainingStage:
    """Phases that share an optimiser. `tower_rate`: the tower's learning rate. Without `pictures`, frames are words."""

    name: str
    phases: tuple[TrainingPhase, ...]
    rate: float
    tower_rate: float
    hint: float
    pictures: bool


_LONG = frozenset({"describe"})
_ALONE = _LONG | PLANNER_EXAMPLES.keys()
_FOUR = ("colour", "shape", "first", "last")
_OFTEN = (*KINDS, "appears")  # the harder a kind is, the more often it is asked
_COUNTS = (1, 2, 3, 4, 4, 6, 8, 8, 12, 16, 16, 24, 32, 32, 32, 48, 64)
_FEW = {"fact": 4.0, "direct": 4.0}
_MORE = {"fact": 3.0, "direct": 5.0, "open": 1.5, "verify": 2.5, "think": 3.0}
_MANY = {"fact": 0.7, "direct": 5.0, "open": 1.5, "verify": 2.5, "think": 2.5}

READING = TrainingStage(
    "reading",
    (
        TrainingPhase("copy", 400, (3, 4, 6, 8), {"describe": 2, "think": 2, "fact": 3}, _FOUR, tokens=4500),
        TrainingPhase("one", 1500, (3, 4, 6, 8), _FEW, _FOUR, tokens=4500, turns=8, enough=0.97),
        TrainingPhase("two", 2000, (4, 6, 8, 12, 16), _MORE, _OFTEN, tokens=5500, turns=8, enough=0.97),
        TrainingPhase("three", 800, (4, 8, 12, 16, 24, 32, 32), _MANY, _OFTEN, unknown=0.3, tokens=6500, turns=8),
    ),
    rate=1.3e-3,
    tower_rate=0.0,
    hint=0.5,
    pictures=False,
)
_CALLS = {
    "direct": 1.5,
    "open": 0.3,
    "verify": 1.0,
    "think": 0.8,
    "seek": 2.5,
    "sign": 3.0,
    "caption": 3.5,
    "said": 1.0,
}
_READ = {"direct": 1.2, "open": 0.2, "verify": 0.8, "think": 0.6, "seek": 4.0, "sign": 2.0, "caption": 4.0, "said": 2.0}
_ALL = {"direct": 2.2, "open": 0.4, "verify": 1.2, "think": 1.3, "seek": 1.6, "sign": 3.0, "caption": 4.5, "said": 2.8}
_SOME = (4, 8, 8, 12, 16, 24, 32)

# The committed weights went through these two on top of what a reading and a joining stage without calls had taught.
SEEKING = TrainingStage(
    "seeking",
    (
        TrainingPhase("calls", 2400, _SOME, _CALLS, _OFTEN, unknown=0.5, tokens=2200),
        TrainingPhase("words", 800, _SOME, _READ, _OFTEN, unknown=0.5, tokens=2200),
    ),
    rate=8e-4,
    tower_rate=0.0,
    hint=0.4,
    pictures=False,
)
JOINING = TrainingStage(
    "joining",
    (TrainingPhase("honest", 1250, _COUNTS, _ALL, _OFTEN, unknown=0.75, tokens=2600, fade=True),),
    rate=8e-4,
    tower_rate=2e-4,
    hint=0.3,
    pictures=True,
)


def batches(
    phase: TrainingPhase, tokenizer: PreTrainedTokenizerFast, seed: str, pictures: bool
) -> Iterator[TrainingBatch]:
    """Endless batches of a phase; every video is fresh and from the training range."""
    rng = Random(f"{phase.name} {seed}")
    pad = tokenizer.convert_tokens_to_ids("<|endoftext|>")
    while True:
        frames, forms = rng.choice(phase.frames), _similar_forms(phase.forms, rng)
        sights: list[ViewedFrame] = []
        trees: list[TokenTree] = []
        while padded_size(trees) <= phase.tokens:
            shown, turns = make_example(phase, frames, forms, rng)
            if not turns:
                continue
            sights += [*shown.sights, *(sight for turn in turns for sight in turn.sights)]
            trees.append(make_tree(frame_placeholders(shown), turns, system_text(rng), tokenizer))
        if pictures and sights:
            yield collate(trees, pad, pixels=to_tensor(render_frames(sights, rng)))
        else:
            yield collate(trees, pad, words=frame_words(sights, tokenizer))


def _similar_forms(forms: dict[str, float], rng: Random) -> dict[str, float]:
    """One form that stands alone, or all that do not: mixed, a batch would be mostly padding."""
    drawn = rng.choices(list(forms), list(forms.values()))[0]
    if drawn in _ALONE:
        return {drawn: 1.0}
    return {form: weight for form, weight in forms.items() if form not in _ALONE}


def make_example(
    phase: TrainingPhase, frames: int, forms: dict[str, float], rng: Random
) -> tuple[VideoView, list[ExampleTurn]]:
    """A view of a fresh video, and turns about it."""
    (form, *others) = forms
    if not others and form in PLANNER_EXAMPLES:
        return PLANNER_EXAMPLES[form](frames, phase.turns, rng)
    video = make_video(for_training(rng.randrange(DEV_FROM)))
    shown = view_video(video, random_times(video, frames, rng))
    count = 3 if set(forms) <= _LONG else phase.turns
    questions = ask_about(video, 2 * count, phase.kinds, stream=rng.getrandbits(30))
    if rng.random() >= phase.unknown:
        questions = [question for question in questions if is_proven(question, shown)]
    chosen = rng.choices(list(forms), list(forms.values()), k=count)
    asked = [make_turn(question, shown, form, rng) for question, form in zip(questions, chosen, strict=False)]
    return shown, asked or ([describe_turn(shown, rng)] if "describe" in forms else [])


def render_frames(sights: list[ViewedFrame], rng: Random) -> Pixels:
    """All frames, as the tower will see them."""
    return np.stack([degrade(_render(sight, rng), rng) for sight in sights])


def _render(sight: ViewedFrame, rng: Random) -> Pixels:
    if sight.cell is None:
        return training_frame(sight.shot, sight.frame)
    return closer_look(sight.shot, sight.frame, crop_around(sight.cell, rng))


def frame_words(sights: list[ViewedFrame], tokenizer: PreTrainedTokenizerFast) -> torch.Tensor:
    """All frames as the words that say what they show: ids (frames, 4), -1 where there are fewer."""
    ids = dict(zip(SEEN, word_ids(SEEN, tokenizer), strict=True))
    said = [[ids[word] for word in sight.words] for sight in sights]
    return torch.tensor([[*words, *[-1] * (4 - len(words))] for words in said], dtype=torch.long).view(-1, 4)
