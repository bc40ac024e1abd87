"""What is taught when: each phase fails without the one before it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

import numpy as np
from transformers import PreTrainedTokenizerFast

from agents.demo.batch import Batch, Tree, collate, in_pictures, in_words, tree
from agents.demo.film import make_film
from agents.demo.lesson import Turn, turn
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
    rate: float = 1.0
    fade: float = 1.0


_LONG = frozenset({"think", "describe"})
TOLD = tuple(kind for kind in KINDS if kind != "moves")  # words do not tell motion

READING = (
    Phase("facts", 500, (6, 8, 10), {"fact": 5, "think": 1}, TOLD),
    Phase("letters", 900, (6, 8, 12, 16), {"fact": 3, "think": 1, "direct": 3, "open": 2, "verify": 1}, TOLD),
    Phase(
        "doubt", 1500, (1, 2, 4, 8, 12, 16, 24, 32, 32),
        {"fact": 2, "think": 1, "direct": 4, "open": 2, "verify": 2}, TOLD, unknown=0.25,
    ),
)  # fmt: skip


def batches(phase: Phase, tokenizer: PreTrainedTokenizerFast, seed: str, pictures: bool) -> Iterator[Batch]:
    """Endless batches of a phase; every film is fresh and from the training range."""
    rng = Random(f"{phase.name} {seed}")
    pad = tokenizer.convert_tokens_to_ids("<|endoftext|>")
    while True:
        frames, forms = rng.choice(phase.frames), _alike(phase.forms, rng)
        views: list[View] = []
        trees: list[Tree] = []
        cost = 0
        while cost <= phase.tokens:
            shown, turns = lesson(phase, frames, forms, rng)
            if not turns:
                continue
            trunk = in_pictures(shown) if pictures else in_words(shown)
            views.append(shown)
            trees.append(tree(trunk, turns, system_text(rng), tokenizer))
            cost += len(trees[-1].trunk) + len(turns) * trees[-1].longest
        pixels = to_tensor(photograph(views, rng)) if pictures else None
        yield collate(trees, pixels, pad)


def _alike(forms: dict[str, float], rng: Random) -> dict[str, float]:
    """Either the forms with long replies or those with short ones: mixed, most of a batch would be padding."""
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
    pairs = zip(questions[:count], chosen, strict=False)
    return shown, [turn(question, shown, form, rng) for question, form in pairs]


def photograph(views: list[View], rng: Random) -> np.ndarray:
    """All frames of all views, as the tower will see them."""
    sights = [sight for shown in views for sight in shown.sights]
    return np.stack([spoil(training_frame(sight.shot, sight.frame), rng) for sight in sights])
