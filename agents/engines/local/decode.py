"""Write replies: all samples of a prompt side by side in one batch, on copies of one cache."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Literal

import torch
from torch import Tensor
from transformers import LogitsProcessorList, TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

from agents.engine import Reply, Sampling, Token
from agents.engines.local.checkpoint import Checkpoint
from agents.engines.local.prefill import Prefill
from agents.engines.local.spelling import Spelling

Draw = Callable[[Tensor], Tensor]


def decode(
    checkpoint: Checkpoint,
    prefill: Prefill,
    sampling: Sampling,
    n: int,
    check: Callable[[], None],
    hear: Callable[[str], object] = lambda _: None,
) -> tuple[list[Reply], int]:
    """n replies and the number of tokens written, end marks included. `check` is called before every token.

    Log-probabilities are those of the model's own distribution in nats: temperature 1, nothing cut off.
    A greedy reply is written once and returned n times. `hear` is told the first reply as it is written.
    Consumes the cache of the prefill.
    """
    rows = [_Row(checkpoint, sampling.stop) for _ in range(n if sampling.temperature > 0 else 1)]
    budget = min(sampling.max_tokens, checkpoint.longest - prefill.tokens)
    draw = drawing(sampling, checkpoint.device)
    cache, logits = prefill.cache, prefill.logits.expand(len(rows), -1)
    _keep_rows(cache, [0] * len(rows), checkpoint)
    living = list(rows)
    for left in range(max(budget, 1) - 1, -1, -1):
        check()
        tokens = draw(logits)
        scores = torch.log_softmax(logits, dim=-1).gather(1, tokens[:, None])[:, 0]
        for row, token, score in zip(living, tokens.tolist(), scores.tolist(), strict=True):
            row.add(token, score)
        hear(rows[0].fresh())
        kept = [at for at, row in enumerate(living) if not row.over]
        if not kept or not left:
            break
        if len(kept) < len(living):
            _keep_rows(cache, kept, checkpoint)
            living, tokens = [living[at] for at in kept], tokens[kept]
        logits = forward(checkpoint, tokens[:, None], cache)[:, -1]
    replies = [row.reply() for row in rows]
    hear(replies[0].text[rows[0].heard :])
    return replies * (n // len(rows)), sum(row.written for row in rows)


def forward(checkpoint: Checkpoint, tokens: Tensor, cache: Any) -> Tensor:
    """Logits in float32 after every one of the tokens (rows, length), which are added to the cache."""
    output = checkpoint.model(input_ids=tokens, past_key_values=cache, use_cache=True)
    logits: Tensor = output.logits.float()
    return logits


def drawing(sampling: Sampling, device: torch.device) -> Draw:
    """How one token a row is drawn from logits. The library's own generator of random numbers is not touched."""
    if sampling.temperature <= 0:
        return lambda logits: logits.argmax(-1)
    warpers = LogitsProcessorList([TemperatureLogitsWarper(float(sampling.temperature))])
    if sampling.top_k > 0:
        warpers.append(TopKLogitsWarper(sampling.top_k))
    if sampling.top_p < 1:
        warpers.append(TopPLogitsWarper(sampling.top_p))
    generator = torch.Generator(device)
    if sampling.seed is None:
        generator.seed()
    else:
        generator.manual_seed(sampling.seed)

    def draw(logits: Tensor) -> Tensor:
        chances = torch.softmax(warpers(None, logits), dim=-1)
        return torch.multinomial(chances, 1, generator=generator)[:, 0]

    return draw


def repeat(prefill: Prefill, rows: int, checkpoint: Checkpoint) -> None:
    """Give the cache of a prefill so many equal rows."""
    _keep_rows(prefill.cache, [0] * rows, checkpoint)


def _keep_rows(cache: Any, rows: list[int], checkpoint: Checkpoint) -> None:
    """Every kind of cache layer can be reordered, so this repeats and drops rows of any model."""
    cache.reorder_cache(torch.tensor(rows, device=checkpoint.device))


class _Row:
    """One reply being written."""

    def __init__(self, checkpoint: Checkpoint, stops: tuple[str, ...]) -> None:
        self._ends = checkpoint.ends
        self._stops = stops
        self._spelling = Spelling(checkpoint.tokenizer)
        self._tokens: list[Token] = []
        self._text = ""
        self._held = max(map(len, stops), default=1) - 1
        self.written = 0
        self.heard = 0
        self.over = False

    def add(self, token: int, logprob: float) -> None:
        self.written += 1
        if token in self._ends:
            self.over = True
            return
        piece = self._spelling.add(token)
        self._tokens.append(Token(piece, logprob))
        self._text += piece
        found = [at for stop in self._stops if stop and (at := self._text.find(stop)) >= 0]
        if found:
            self._cut(min(found))

    def fresh(self) -> str:
        """What was not heard before, but for what may be the beginning of a stop."""
        start, self.heard = self.heard, max(self.heard, len(self._text) - (0 if self.over else self._held))
        return self._text[start : self.heard]

    def reply(self) -> Reply:
        finish: Literal["stop", "length"] = "stop" if self.over else "length"
        if self._tokens and (rest := self._spelling.rest()):
            self._tokens[-1] = replace(self._tokens[-1], text=self._tokens[-1].text + rest)
        return Reply("".join(token.text for token in self._tokens), tuple(self._tokens), finish)

    def _cut(self, end: int) -> None:
        self.over = True
        kept, position = [], 0
        for token in self._tokens:
            kept.append(replace(token, text=token.text[: end - position]))
            position += len(token.text)
            if position >= end:
                break
        self._text, self._tokens = self._text[:end], kept if end else []
