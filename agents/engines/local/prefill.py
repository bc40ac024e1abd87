"""Read a prompt once: its KV cache and the prediction for the first token, with a memory of the last prompts."""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

from agents.engine import EngineError, Prompt
from agents.engines.local.checkpoint import Checkpoint, keys_of


@dataclass(frozen=True, slots=True, eq=False)
class Prefill:
    """A prompt that has been read. `logits` predict the next token, (vocabulary,) in float32; `cache` has one row.

    `tokens` is the length of the prompt, of which `cached` were not read again.
    """

    logits: Tensor
    cache: Any
    tokens: int
    cached: int


@dataclass(frozen=True, slots=True, eq=False)
class _Read:
    ids: tuple[int, ...]
    keys: tuple[str, ...]
    cache: Any
    offsets: list[Tensor | None]


class Reader:
    """Reads prompts, and again only from where they differ from one of the last few.

    A prompt is continued from another one only if both show the same pictures and differ after the last of them, and
    only if every layer of the model keeps plain keys and values of the whole prompt: then it is exact.
    """

    def __init__(self, checkpoint: Checkpoint, remembered: int = 2) -> None:
        self.checkpoint = checkpoint
        self._remembered = remembered
        self._memory: list[_Read] = []

    def read(self, prompt: Prompt) -> Prefill:
        """Run the prompt through the model. Raises EngineError if it is longer than the model can read."""
        inputs = self.checkpoint.encode(prompt)
        ids: tuple[int, ...] = tuple(inputs["input_ids"][0].tolist())
        longest = self.checkpoint.longest
        if len(ids) >= longest:
            raise EngineError(
                f"the prompt has {len(ids)} tokens; {self.checkpoint.name} reads and writes at most {longest}"
            )
        keys = keys_of(prompt)
        known, shared = self._recall(ids, keys)
        logits, cache = self._start(inputs) if known is None else self._continue(known, ids, shared)
        if known is not None:
            self._memory.remove(known)
        self._remember(_Read(ids, keys, cache, self.checkpoint.offsets))
        return Prefill(logits[0, -1].float(), cache, len(ids), shared)

    def forget(self) -> None:
        """Give the memory back."""
        self._memory.clear()

    def _start(self, inputs: Mapping[str, Tensor]) -> tuple[Tensor, Any]:
        self.checkpoint.forget_offsets()
        model = self.checkpoint.model
        cache = DynamicCache(config=model.config)
        output = model(**self.checkpoint.on_device(inputs), past_key_values=cache, use_cache=True, logits_to_keep=1)
        return output.logits, output.past_key_values

    def _continue(self, known: _Read, ids: tuple[int, ...], shared: int) -> tuple[Tensor, Any]:
        self.checkpoint.offsets = known.offsets
        cache = _twin(known.cache)
        cache.crop(shared - len(known.ids))
        rest = torch.tensor([ids[shared:]], device=self.checkpoint.device)
        output = self.checkpoint.model(input_ids=rest, past_key_values=cache, use_cache=True, logits_to_keep=1)
        return output.logits, output.past_key_values

    def _recall(self, ids: tuple[int, ...], keys: tuple[str, ...]) -> tuple[_Read | None, int]:
        """The remembered prompt that shares most with this one, and how many tokens to take from it."""
        best: tuple[_Read | None, int] = (None, 0)
        for read in self._memory:
            # The last token is always read again: its prediction is what we want.
            shared = min(_common(read.ids, ids), len(ids) - 1)
            if read.keys == keys and shared > max(self._last_picture(ids, keys), best[1]):
                best = (read, shared)
        return best

    def _last_picture(self, ids: tuple[int, ...], keys: tuple[str, ...]) -> int:
        if not keys:
            return 0
        token = self.checkpoint.image_token
        return next((at for at in range(len(ids) - 1, -1, -1) if ids[at] == token), len(ids))

    def _remember(self, read: _Read) -> None:
        if not self._remembered or not _plain(read.cache, len(read.ids)):
            return
        kept = _Read(read.ids, read.keys, _twin(read.cache), read.offsets)
        self._memory = [*self._memory, kept][-self._remembered :]


def _common(one: tuple[int, ...], other: tuple[int, ...]) -> int:
    pairs = zip(one, other, strict=False)
    return next((at for at, (a, b) in enumerate(pairs) if a != b), min(len(one), len(other)))


def _plain(cache: Any, length: int) -> bool:
    """Whether the cache can be cut back: no sliding windows, no recurrent states, no cross-attention."""
    return isinstance(cache, DynamicCache) and all(
        type(layer) is DynamicLayer and layer.get_seq_length() == length for layer in cache.layers
    )


def _twin(cache: Any) -> Any:
    """A second cache on the same tensors: plain layers grow and shrink by replacing tensors, never in place."""
    twin = copy(cache)
    twin.layers = [copy(layer) for layer in cache.layers]
    return twin
