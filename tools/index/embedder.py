"""Texts as vectors, so that near meanings are near each other; by default without any model."""

import re
import unicodedata
from collections.abc import Iterator, Sequence
from functools import lru_cache
from hashlib import blake2b
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Embeddings = NDArray[np.float32]
"""(texts, dimension); every row has length 1, or 0 if there is nothing in the text."""


class EmbedderUnavailable(Exception):
    """The embedder cannot be reached. Search by words still works."""


class Embedder(Protocol):
    """Makes vectors of texts. Safe under threads."""

    @property
    def name(self) -> str:
        """What makes the vectors, so that those of different makers are never compared."""

    def embed(self, texts: Sequence[str]) -> Embeddings:
        """One vector a text. Blocks. Raises EmbedderUnavailable."""


def tokenize(text: str) -> tuple[str, ...]:
    """The words and numbers of a text in small letters, without accents, in order."""
    if text.isascii():
        return tuple(_WORD.findall(text.lower()))
    plain = unicodedata.normalize("NFKD", text).casefold()
    return tuple(_WORD.findall("".join(letter for letter in plain if not unicodedata.combining(letter))))


class HashedEmbedder:
    """Words and their pieces of three to five letters, each added at a place and with a sign that its hash says.

    Finds texts that share words or parts of words; knows nothing of what they mean. Feature hashing after Weinberger
    et al., ICML 2009, arXiv:0902.2206; pieces of words after Bojanowski et al., TACL 2017, arXiv:1607.04606.
    """

    def __init__(self, dimension: int = 256) -> None:
        if dimension < 8:
            raise ValueError("a vector needs at least 8 numbers")
        self.dimension = dimension
        self.name = f"hashed-{_VERSION}:{dimension}"
        self._word = lru_cache(_CACHED_WORDS)(self._hash)

    def embed(self, texts: Sequence[str]) -> Embeddings:
        """One vector a text."""
        parts = [np.zeros((0, self.dimension), np.float32)]
        parts += [self._embed(texts[start : start + _BATCH]) for start in range(0, len(texts), _BATCH)]
        return np.concatenate(parts)

    def _embed(self, texts: Sequence[str]) -> Embeddings:
        hashed = [(row, *self._word(word)) for row, text in enumerate(texts) for word in dict.fromkeys(tokenize(text))]
        vectors = np.zeros((len(texts), self.dimension))
        if hashed:
            rows, places, weights = zip(*hashed, strict=True)
            cells = np.repeat(rows, [len(each) for each in places]) * self.dimension + np.concatenate(places)
            vectors += np.bincount(cells, np.concatenate(weights), vectors.size).reshape(vectors.shape)
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        return np.asarray(np.divide(vectors, lengths, out=vectors, where=lengths > 0), np.float32)

    def _hash(self, word: str) -> tuple[NDArray[np.intp], Embeddings]:
        """Where a word goes, and how much: half for itself, half for its pieces together."""
        pieces = list(_ngrams(word))
        hashes = [int.from_bytes(blake2b(each.encode(), digest_size=8).digest(), "little") for each in (word, *pieces)]
        places = np.array([each % self.dimension for each in hashes], np.intp)
        signs = np.array([1.0 if each >> 63 else -1.0 for each in hashes], np.float32)
        shares = np.array([1.0, *[max(len(pieces), 1) ** -0.5] * len(pieces)], np.float32)
        return places, signs * shares


_VERSION = 1
"""Raise this with every change of what a text's vector is."""
_CACHED_WORDS = 65_536
"""Words whose hashes are kept."""
_BATCH = 1024
"""Texts."""
_WORD = re.compile(r"\w+", re.UNICODE)


def _ngrams(word: str) -> Iterator[str]:
    """Runs of three to five letters of a word with its ends marked; none of a word without letters."""
    if word.isdecimal():
        return
    marked = f"<{word}>"
    for size in (3, 4, 5):
        for start in range(len(marked) - size + 1):
            yield f"{size}{marked[start : start + size]}"
