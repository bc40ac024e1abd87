"""Open an embedder by its URL.

`hashed:256` (words and their pieces in so many numbers; nothing to download) ·
`openai:http://host:port/v1?model=NAME` (any server with OpenAI's embeddings) ·
`sentences:FOLDER-OR-ID?device=cpu` (a sentence encoder of Hugging Face, in process).
"""

from __future__ import annotations

from importlib import import_module
from urllib.parse import parse_qsl

from agents.engines.base import EngineError
from tools.index.embedder import Embedder, HashedEmbedder

_SCHEMES = ("hashed", "openai", "sentences")
_EXTRAS = frozenset({"torch", "transformers"})


def open_embedder(url: str, *, api_key: str | None = None) -> Embedder:
    """Open the embedder that a URL names. Blocks while a model is loaded. Raises EngineError, in plain words."""
    scheme, _, rest = url.partition(":")
    place, _, query = rest.partition("?")
    options = dict(parse_qsl(query, keep_blank_values=True))
    if scheme not in _SCHEMES:
        known = ", ".join(f"{each}:" for each in _SCHEMES)
        raise EngineError(f"unknown embedder {url!r}: it must begin with one of {known}")
    if scheme == "hashed":
        return _hashed(place)
    if not place:
        raise EngineError(f"the embedder {url!r} names nothing: write {scheme}: and where it is")
    try:
        opened: Embedder = import_module(f"agents.embedders.{scheme}").open_at(place, options, api_key)
    except ModuleNotFoundError as error:
        if error.name not in _EXTRAS:
            raise
        raise EngineError(f'this embedder needs {error.name}: pip install "secondlook[local]"') from error
    return opened


def _hashed(place: str) -> Embedder:
    try:
        return HashedEmbedder(int(place)) if place else HashedEmbedder()
    except ValueError as error:
        raise EngineError(f"hashed:{place} is no embedder: write a number of 8 or more, as in hashed:256") from error
