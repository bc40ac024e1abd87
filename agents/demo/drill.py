"""A drill without frames: from an option's words to its letter, many times over.

Nothing else in the curriculum shows this step often enough, and without it no multiple-choice answer is right.
"""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

from transformers import PreTrainedTokenizerFast

from agents.answer import Question
from agents.demo.batch import Batch, Tree, collate, padded_size, tree
from agents.demo.lesson import Turn
from agents.demo.wording import fact_text
from agents.demo.world import COLOURS, DIRECTIONS, SHAPES

_WORDS = (*COLOURS, *SHAPES, *DIRECTIONS, "1", "2", "3", "4", "yes", "no")
_NAMED = 12  # options named in one reply


def drills(tokenizer: PreTrainedTokenizerFast, seed: str, tokens: int) -> Iterator[Batch]:
    """Endless batches: a list of options, then `blue B; red A; …`, of which only the letters are taught."""
    rng = Random(f"drill {seed}")
    pad = tokenizer.convert_tokens_to_ids("<|endoftext|>")
    while True:
        repeats = rng.random() < 0.5
        trees: list[Tree] = []
        while padded_size(trees) <= tokens:
            trees.append(tree("", [_drill(rng, repeats)], None, tokenizer))
        yield collate(trees, pad)


def _drill(rng: Random, repeats: bool) -> Turn:
    options = tuple(rng.sample(_WORDS, rng.randint(2 if repeats else 4, 6)))
    posed = Question(text="Which one?", options=options, kind="choice")
    lettered = list(zip(options, posed.letters, strict=True))
    named = rng.choices(lettered, k=_NAMED) if repeats else rng.sample(lettered, len(lettered))
    pieces = [piece for option, letter in named for piece in ((f" {option}", 0.0), (f" {letter}", 1.0), (";", 0.0))]
    return Turn(fact_text(posed, rng), tuple(pieces))
