"""Text embeddings from an OpenAI-compatible server."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Self

import httpx
import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from agents.engines.base import EngineError
from tools.index.embedder import EmbedderUnavailable, Embeddings

_TIMEOUT = 30.0  # seconds
_BATCH = 256  # texts in one request


class _Vector(BaseModel):
    model_config = ConfigDict(allow_inf_nan=False)

    index: int
    embedding: list[float]


class _Answer(BaseModel):
    data: list[_Vector]


class OpenAIEmbedder:
    """A model behind `/embeddings`. Thread-safe."""

    def __init__(
        self, base: str, model: str, api_key: str | None = None, *, transport: httpx.BaseTransport | None = None
    ) -> None:
        self.name = f"openai:{model}"
        self._model = model
        headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        self._url = f"{base.rstrip('/')}/embeddings"
        self._client = httpx.Client(headers=headers, timeout=_TIMEOUT, transport=transport, trust_env=False)

    @classmethod
    def open(cls, place: str, options: Mapping[str, str], *, api_key: str | None = None) -> Self:
        """An embedder at a base URL, which ends before `/embeddings`. Nothing is sent yet. Raises EngineError."""
        url = httpx.URL(place)
        if url.scheme not in ("http", "https") or not url.host or url.userinfo:
            raise EngineError(f"the embedder's address must be like openai:http://host:port/v1, not openai:{place}")
        if options.keys() != {"model"}:
            raise EngineError("an openai: embedder needs ?model=NAME and has no other option")
        return cls(place, options["model"], api_key)

    def embed(self, texts: Sequence[str]) -> Embeddings:
        """One vector for each text. Blocks. Raises EmbedderUnavailable, also for an invalid response."""
        if not texts:
            return np.zeros((0, 0), np.float32)
        parts = [self._ask(texts[start : start + _BATCH]) for start in range(0, len(texts), _BATCH)]
        if len({part.shape[1] for part in parts}) > 1:
            raise EmbedderUnavailable(f"{self._model} gave vectors of different lengths")
        vectors = np.concatenate(parts)
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        return np.asarray(np.divide(vectors, lengths, out=vectors, where=lengths > 0), np.float32)

    def _ask(self, texts: Sequence[str]) -> Embeddings:
        # Servers refuse an empty text but not a blank.
        body = {"model": self._model, "input": [text or " " for text in texts]}
        try:
            response = self._client.post(self._url, json=body).raise_for_status()
            answer = _Answer.model_validate_json(response.content)
        except httpx.HTTPStatusError as error:
            raise EmbedderUnavailable(f"the server of {self._model} answered {error.response.status_code}") from error
        except httpx.HTTPError as error:
            raise EmbedderUnavailable(f"the server of {self._model} cannot be reached") from error
        except ValidationError as error:
            raise EmbedderUnavailable(f"the server of {self._model} sent no vectors") from error
        ordered = sorted(answer.data, key=lambda each: each.index)
        if [each.index for each in ordered] != list(range(len(texts))):
            raise EmbedderUnavailable(f"the server of {self._model} sent {len(ordered)} vectors for {len(texts)} texts")
        try:
            return np.array([each.embedding for each in ordered], np.float32).reshape(len(texts), -1)
        except ValueError as error:
            raise EmbedderUnavailable(f"{self._model} gave vectors of different lengths") from error
