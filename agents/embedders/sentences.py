"""Vectors from a sentence encoder in this process."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import torch
from transformers import AutoModel, AutoTokenizer

from agents.engines.base import EngineError
from tools.index.embedder import Embeddings

_AT_ONCE = 64
"""Texts in one pass."""
_TOKENS = 256
"""Of a text; what is longer is not read further."""


def open_at(place: str, options: Mapping[str, str], _: str | None) -> SentenceEmbedder:
    """Load an encoder from a folder, or from the hub. Raises EngineError."""
    if unknown := sorted(options.keys() - {"device"}):
        raise EngineError(f"unknown option {unknown[0]!r}: a sentences: embedder has device")
    try:
        return SentenceEmbedder(place, options.get("device", "cpu"))
    except (OSError, ValueError, RuntimeError) as error:
        raise EngineError(f"the sentence encoder {place} cannot be loaded: {error}") from error


class SentenceEmbedder:
    """An encoder of Hugging Face. A text's vector is the mean over its tokens, or the first, as the model says.

    Reimers & Gurevych, EMNLP 2019, arXiv:1908.10084.
    """

    def __init__(self, place: str, device: str = "cpu") -> None:
        self.name = f"sentences:{Path(place).name}"
        self._device = torch.device(device)
        self._tokenizer: Any = AutoTokenizer.from_pretrained(place)
        self._model: Any = AutoModel.from_pretrained(place).to(self._device).eval()
        self._first = _takes_first(Path(place))
        self._lock = Lock()

    def embed(self, texts: Sequence[str]) -> Embeddings:
        """One vector a text. Blocks for the model."""
        size = int(self._model.config.hidden_size)
        parts = [self._pass(texts[start : start + _AT_ONCE]) for start in range(0, len(texts), _AT_ONCE)]
        return np.concatenate([np.zeros((0, size), np.float32), *parts])

    def _pass(self, texts: Sequence[str]) -> Embeddings:
        with self._lock, torch.inference_mode():
            read = self._tokenizer(
                list(texts), padding=True, truncation=True, max_length=_TOKENS, return_tensors="pt"
            ).to(self._device)
            states = self._model(**read).last_hidden_state
            weights = read["attention_mask"][..., None].to(states.dtype)
            pooled = states[:, 0] if self._first else (states * weights).sum(1) / weights.sum(1)
            return np.asarray(torch.nn.functional.normalize(pooled, dim=1).float().cpu().numpy())


def _takes_first(place: Path) -> bool:
    """What the model's own files say of pooling; the mean if they say nothing."""
    try:
        said = json.loads((place / "1_Pooling" / "config.json").read_text())
    except (OSError, ValueError):
        return False
    return bool(said.get("pooling_mode_cls_token"))
