"""Open an embedder by its URL, `SCHEME:PLACE?NAME=VALUE`.

`hashed:256` (hashed words and parts of words, in that many dimensions; nothing to download) ·
`openai:http://host:port/v1?model=NAME` (any server with OpenAI's embeddings API) ·
`sentences:FOLDER-OR-ID?device=cpu` (a Hugging Face sentence encoder, in process).
"""

from __future__ import annotations

from importlib import import_module
from urllib.parse import parse_qsl

from agents.engines.base import EngineError
from tools.index.embedder import Embedder, HashedEmbedder

EMBEDDERS = {
    "openai": "agents.embedders.openai:OpenAIEmbedder",
    "sentences": "agents.embedders.sentences:SentenceEmbedder",
}
"""Module and class for each scheme but `hashed`; imported when the scheme is used."""

_LOCAL_PACKAGES = frozenset({"torch", "transformers"})  # of the extra `local`


def open_embedder(url: str, *, api_key: str | None = None) -> Embedder:
    """Open the embedder that a URL names. Blocks while a model is loaded. Raises EngineError, in plain words."""
    scheme, _, rest = url.partition(":")
    place, _, query = rest.partition("?")
    if scheme == "hashed":
        return _hashed(place)
    if scheme not in EMBEDDERS:
        known = ", ".join(f"{each}:" for each in ("hashed", *EMBEDDERS))
        raise EngineError(f"unknown embedder {url!r}: it must begin with one of {known}")
    if not place:
        raise EngineError(f"the embedder {url!r} has no address: write it after {scheme}:")
    module, _, name = EMBEDDERS[scheme].partition(":")
    try:
        embedder_class = getattr(import_module(module), name)
    except ModuleNotFoundError as error:
        if error.name not in _LOCAL_PACKAGES:
            raise
        raise EngineError(f'this embedder needs {error.name}: pip install "secondlook[local]"') from error
    opened: Embedder = embedder_class.open(place, dict(parse_qsl(query, keep_blank_values=True)), api_key=api_key)
    return opened


def _hashed(place: str) -> Embedder:
    try:
        return HashedEmbedder(int(place)) if place else HashedEmbedder()
    except ValueError as error:
        raise EngineError(f"hashed:{place} is no embedder: write a number of 8 or more, as in hashed:256") from error
