"""Text embeddings from a sentence encoder in this process."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from threading import Lock
from typing import Any, Self

import numpy as np
import torch
from transformers import AutoModel, AutoTokenizer

from agents.engines.base import EngineError
from tools.index.embedder import Embeddings

_BATCH = 64  # texts in one pass
_MAX_TOKENS = 256  # of a text; the rest is cut off


class SentenceEmbedder:
    """A Hugging Face encoder. A text's vector is the mean over its tokens or that of the first, as the model says.

    Reimers & Gurevych, EMNLP 2019, arXiv:1908.10084.
    """

    def __init__(self, place: str, device: str = "cpu") -> None:
        self.name = f"sentences:{Path(place).name}"
        self._device = torch.device(device)
        self._tokenizer: Any = AutoTokenizer.from_pretrained(place)
        self._model: Any = AutoModel.from_pretrained(place).to(self._device).eval()
        self._first_token = _pools_first_token(Path(place))
        self._lock = Lock()

    @classmethod
    def open(cls, place: str, options: Mapping[str, str], *, api_key: str | None = None) -> Self:  # noqa: ARG003
        """Load an encoder from a folder or by its id. Raises EngineError."""
        if unknown := sorted(options.keys() - {"device"}):
            raise EngineError(f"unknown option {unknown[0]!r}: a sentences: embedder has device")
        try:
            return cls(place, options.get("device", "cpu"))
        except (OSError, ValueError, RuntimeError) as error:
            raise EngineError(f"the sentence encoder {place} cannot be loaded: {error}") from error

    def embed(self, texts: Sequence[str]) -> Embeddings:
        """One vector for each text. Blocks."""
        size = int(self._model.config.hidden_size)
        parts = [self._embed(texts[start : start + _BATCH]) for start in range(0, len(texts), _BATCH)]
        return np.concatenate([np.zeros((0, size), np.float32), *parts])

    def _embed(self, texts: Sequence[str]) -> Embeddings:
        with self._lock, torch.inference_mode():
            inputs = self._tokenizer(
                list(texts), padding=True, truncation=True, max_length=_MAX_TOKENS, return_tensors="pt"
            ).to(self._device)
            states = self._model(**inputs).last_hidden_state
            weights = inputs["attention_mask"][..., None].to(states.dtype)
            pooled = states[:, 0] if self._first_token else (states * weights).sum(1) / weights.sum(1)
            return np.asarray(torch.nn.functional.normalize(pooled, dim=1).float().cpu().numpy())


def _pools_first_token(place: Path) -> bool:
    """Whether the model's files ask for the first token's vector; otherwise the mean is taken."""
    try:
        pooling = json.loads((place / "1_Pooling" / "config.json").read_text())
    except (OSError, ValueError):
        return False
    return bool(pooling.get("pooling_mode_cls_token"))
