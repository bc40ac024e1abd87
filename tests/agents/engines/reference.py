"""What a model says when nothing is cached and nothing is shared, to compare an engine with."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from time import sleep
from typing import Any

import torch

from agents.engines.base import Engine, Generation, Prompt, Sampling, choice_spellings
from agents.engines.transformers.model import Checkpoint

WARM = Sampling(temperature=0.9, max_tokens=10, seed=5)


def once(engine: Engine, prompt: Prompt, sampling: Sampling, n: int = 1) -> Generation:
    return asyncio.run(engine.generate(prompt, sampling, n))


@contextmanager
def watched(checkpoint: Checkpoint, pause: float = 0.0) -> Iterator[list[tuple[int, int]]]:
    """Rows and length of everything that the decoder reads, each of which takes so many seconds longer."""
    seen: list[tuple[int, int]] = []

    def note(_: Any, __: Any, named: dict[str, Any]) -> None:
        seen.append(tuple(named["inputs_embeds"].shape[:2]))
        sleep(pause)

    hook = checkpoint.model.model.language_model.register_forward_pre_hook(note, with_kwargs=True)
    try:
        yield seen
    finally:
        hook.remove()


def from_scratch(checkpoint: Checkpoint, prompt: Prompt, ids: list[int]) -> torch.Tensor:
    """Log-probabilities of the next token after the prompt and after each of the ids, with nothing cached."""
    inputs = checkpoint.encode(prompt)
    more = torch.tensor([ids], dtype=torch.long)
    inputs["input_ids"] = torch.cat([inputs["input_ids"], more], dim=1)
    inputs["attention_mask"] = torch.ones_like(inputs["input_ids"])
    for kind in inputs.keys() & {"mm_token_type_ids", "token_type_ids"}:
        inputs[kind] = torch.cat([inputs[kind], torch.zeros_like(more)], dim=1)
    checkpoint.forget_offsets()
    with torch.inference_mode():
        logits = checkpoint.model(**inputs, use_cache=False).logits[0, -len(ids) - 1 :]
    return torch.log_softmax(logits.double(), dim=-1)


def plain(checkpoint: Checkpoint, prompt: Prompt, tokens: int) -> list[int]:
    """What the library's own `generate` writes greedily."""
    inputs = checkpoint.encode(prompt)
    done = checkpoint.model.generate(**inputs, max_new_tokens=tokens, do_sample=False)
    return [int(token) for token in done[0, inputs["input_ids"].shape[1] :]]


def exact(checkpoint: Checkpoint, prompt: Prompt, choices: tuple[str, ...]) -> dict[str, float]:
    """Probabilities of choices with every spelling read from scratch."""
    sizes = {choice: len(checkpoint.tokenizer(choice)["input_ids"]) for choice in choices}
    ways = {
        tuple(ids): choice
        for choice in choices
        for way in choice_spellings(choice, choices)
        if len(ids := checkpoint.tokenizer(way)["input_ids"]) <= sizes[choice]
    }
    weights = dict.fromkeys(choices, 0.0)
    for ids, choice in ways.items():
        after = from_scratch(checkpoint, prompt, list(ids))
        weight = float(torch.stack([after[at, token] for at, token in enumerate(ids)]).sum().exp())
        if any(other != ids and other[: len(ids)] == ids for other in ways):
            weight *= float(after[-1, sorted(checkpoint.ends)].exp().sum())
        weights[choice] += weight
    return {choice: weight / sum(weights.values()) for choice, weight in weights.items()}
