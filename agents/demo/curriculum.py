"""What is taught when: each phase fails without the one before it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

import numpy as np
from transformers import PreTrainedTokenizerFast

from agents.demo.batch import Batch, Tree, collate, in_pictures, in_words, padded_size, tree
from agents.demo.film import make_film
from agents.demo.lesson import Turn, describe, turn
from agents.demo.questions import KINDS, ask_about
from agents.demo.reply import known
from agents.demo.seeds import DEV_FROM, for_training
from agents.demo.sight import spoil, to_tensor, training_frame
from agents.demo.view import View, random_times, view
from agents.demo.wording import system_text


@dataclass(frozen=True, slots=True)
class Phase:
    """A mix of lessons. `unknown` is the share of films in which questions are asked whether seen or not."""

    name: str
    steps: int
    frames: tuple[int, ...]
    forms: dict[str, float]
    kinds: tuple[str, ...] = KINDS
    unknown: float = 0.0
    tokens: int = 8000
    turns: int = 6
    blind: bool = False  # frames are left out: only the way from a fact to its letter can be learned
    fade: bool = False  # whether the learning rate falls to nothing over this phase


@dataclass(frozen=True, slots=True)
class Stage:
    """Phases that share an optimiser. `eyes` is the vision tower's own learning rate."""

    name: str
    phases: tuple[Phase, ...]
    rate: float
    eyes: float
    pictures: bool


_LONG = frozenset({"think", "describe"})
_LOOKUP = ("colour", "shape", "appears")
_TOLD = tuple(kind for kind in KINDS if kind != "moves")  # words do not tell motion
_ALL = {"fact": 1.0, "think": 1.5, "describe": 0.2, "direct": 4.0, "open": 2.0, "verify": 2.0}

_COUNTS = (1, 2, 3, 4, 4, 6, 8, 8, 12, 16, 16, 24, 32, 32, 32, 48, 64)

READING = Stage(
    "reading",
    (
        Phase("copy", 450, (3, 4, 6, 8), {"describe": 2, "think": 2, "fact": 3}, _LOOKUP, tokens=4500),
        Phase("facts", 300, (6, 8, 10), {"fact": 5, "think": 2}, _TOLD, tokens=4500),
        Phase("letter", 300, (6, 8), {"fact": 1}, tokens=4000, turns=8, blind=True),
        Phase("letters", 500, (3, 4, 6, 8), {"fact": 6, "direct": 2, "open": 1}, _TOLD, tokens=4000),
        Phase("longer", 250, (6, 8, 12, 16, 24, 32), {**_ALL, "fact": 3}, _TOLD, unknown=0.2, fade=True),
    ),
    rate=1.5e-3,
    eyes=0.0,
    pictures=False,
)
JOINING = Stage(
    "joining",
    (
        Phase("name", 150, (1, 2, 3), {"describe": 4, "think": 1, "fact": 2}, tokens=5000, turns=4),
        Phase("few", 350, (2, 3, 4, 6, 8), {**_ALL, "fact": 3, "open": 3, "think": 1}, tokens=4500),
        Phase("many", 700, (4, 6, 8, 12, 16, 24, 32), {**_ALL, "fact": 2}, unknown=0.3, tokens=6000),
        Phase("honest", 1500, _COUNTS, _ALL, unknown=1.0, fade=True),
    ),
    rate=1e-3,
    eyes=1e-4,
    pictures=True,
)


def batches(phase: Phase, tokenizer: PreTrainedTokenizerFast, seed: str, pictures: bool) -> Iterator[Batch]:
    """Endless batches of a phase; every film is fresh and from the training range."""
    rng = Random(f"{phase.name} {seed}")
    pad = tokenizer.convert_tokens_to_ids("<|endoftext|>")
    while True:
        frames, forms = rng.choice(phase.frames), _alike(phase.forms, rng)
        views: list[View] = []
        trees: list[Tree] = []
        while padded_size(trees) <= phase.tokens:
            shown, turns = lesson(phase, frames, forms, rng)
            if not turns:
                continue
            trunk = "" if phase.blind else in_pictures(shown) if pictures else in_words(shown)
            views.append(shown)
            trees.append(tree(trunk, turns, system_text(rng), tokenizer))
        pixels = to_tensor(photograph(views, rng)) if pictures else None
        yield collate(trees, pixels, pad)


def _alike(forms: dict[str, float], rng: Random) -> dict[str, float]:
    """Either the forms with long replies or those with short ones: mixed, a batch would be mostly padding."""
    long = rng.choices(list(forms), list(forms.values()))[0] in _LONG
    return {form: weight for form, weight in forms.items() if (form in _LONG) == long}


def lesson(phase: Phase, frames: int, forms: dict[str, float], rng: Random) -> tuple[View, list[Turn]]:
    """A view of a fresh film, and turns about it."""
    film = make_film(for_training(rng.randrange(DEV_FROM)))
    shown = view(film, random_times(film, frames, rng))
    count = 3 if set(forms) <= _LONG else phase.turns
    questions = ask_about(film, 2 * count, phase.kinds, stream=rng.getrandbits(30))
    if rng.random() >= phase.unknown:
        questions = [question for question in questions if known(question, shown)]
    chosen = rng.choices(list(forms), list(forms.values()), k=count)
    asked = [turn(question, shown, form, rng) for question, form in zip(questions, chosen, strict=False)]
    return shown, asked or ([describe(shown, rng)] if "describe" in forms else [])


def photograph(views: list[View], rng: Random) -> np.ndarray:
    """All frames of all views, as the tower will see them."""
    sights = [sight for shown in views for sight in shown.sights]
    return np.stack([spoil(training_frame(sight.shot, sight.frame), rng) for sight in sights])
