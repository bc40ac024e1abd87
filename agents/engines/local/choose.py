"""The probability of each of a few given replies."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from agents.engine import Reply, Sampling, Token
from agents.engines.local.checkpoint import Checkpoint
from agents.engines.local.decode import drawing, forward, repeat
from agents.engines.local.prefill import Prefill
from agents.engines.spellings import spellings


@dataclass(frozen=True, slots=True)
class _Way:
    """One spelling of a choice, in tokens. It must be followed by the end of the reply if others go on from it."""

    choice: str
    ids: tuple[int, ...]
    closed: bool = False


def choose(
    checkpoint: Checkpoint, prefill: Prefill, sampling: Sampling, n: int, check: Callable[[], None]
) -> list[Reply]:
    """n choices, each one token long whatever its length in words. Consumes the cache of the prefill.

    The probability of a choice is that the reply begins with it in one of its spellings: the product of the
    conditional probabilities of its tokens, at temperature 1; where one choice is the beginning of another, the
    reply must end after it. `probabilities` are these, scaled to sum to 1; so is the log-probability (nats) of the
    one token of each reply.
    """
    check()
    names = list(dict.fromkeys(sampling.choices))
    scores = _weigh(checkpoint, prefill, _ways(checkpoint.tokenizer, names))
    logits = torch.stack([torch.stack(scores[name]).logsumexp(0) for name in names]).log_softmax(0)
    probabilities = dict(zip(names, logits.exp().tolist(), strict=True))
    drawn = drawing(sampling, checkpoint.device)(logits.expand(n, -1)).tolist()
    return [Reply(names[at], (Token(names[at], float(logits[at])),), "stop", probabilities) for at in drawn]


def _weigh(checkpoint: Checkpoint, prefill: Prefill, ways: Sequence[_Way]) -> Mapping[str, list[Tensor]]:
    """Log-probabilities of every choice's spellings."""
    first = torch.log_softmax(prefill.logits.double(), dim=-1)
    scores: dict[str, list[Tensor]] = defaultdict(list)
    long = [way for way in ways if len(way.ids) > 1 or way.closed]
    for way in ways:
        if way not in long:
            scores[way.choice].append(first[way.ids[0]])
    if long:
        length = max(len(way.ids) for way in long)
        # Padding stands after what counts, where a causal model cannot see it.
        padded = [[*way.ids, *[0] * (length - len(way.ids))] for way in long]
        repeat(prefill, len(long), checkpoint)
        after = forward(checkpoint, torch.tensor(padded, device=checkpoint.device), prefill.cache)
        for way, row in zip(long, torch.log_softmax(after.double(), dim=-1), strict=True):
            scores[way.choice].append(_score(way, first, row, checkpoint.ends))
    return scores


def _score(way: _Way, first: Tensor, after: Tensor, ends: frozenset[int]) -> Tensor:
    steps = [first[way.ids[0]], *(after[at, token] for at, token in enumerate(way.ids[1:]))]
    if way.closed:
        steps.append(after[len(way.ids) - 1, sorted(ends)].logsumexp(0))
    return torch.stack(steps).sum()


def _ways(tokenizer: Any, choices: Sequence[str]) -> list[_Way]:
    """All spellings that are no longer in tokens than the choice as given, each sequence of tokens once."""
    found: dict[tuple[int, ...], str] = {}
    for choice in choices:
        own = _tokens(tokenizer, choice)
        for spelling in spellings(choice, choices):
            ids = _tokens(tokenizer, spelling)
            if ids and len(ids) <= len(own):
                found.setdefault(ids, choice)
    return [_Way(choice, ids, _begins_another(ids, found)) for ids, choice in found.items()]


def _begins_another(ids: tuple[int, ...], others: Iterable[tuple[int, ...]]) -> bool:
    return any(len(other) > len(ids) and other[: len(ids)] == ids for other in others)


def _tokens(tokenizer: Any, text: str) -> tuple[int, ...]:
    return tuple(tokenizer(text, add_special_tokens=False)["input_ids"])
