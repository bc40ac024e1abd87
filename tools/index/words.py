"""Which lines hold a word, and how much it says that they do: for numbers and names, which vectors blur."""

from collections import defaultdict
from collections.abc import Mapping
from heapq import nlargest
from math import log

from tools.embedder import words
from tools.index.table import Mask

_COMMON = 1024
"""Lines; a word in more of them finds none of them."""


class Words:
    """Lines by their words."""

    def __init__(self) -> None:
        self._lines: dict[str, list[int]] = {}
        self._count = 0

    def add(self, id_: int, text: str) -> None:
        """Note a line's words."""
        self._count += 1
        for word in set(words(text)):
            self._lines.setdefault(word, []).append(id_)

    def remove(self, id_: int, text: str) -> None:
        """Forget a line that was added with this text."""
        self._count -= 1
        for word in set(words(text)):
            self._lines[word].remove(id_)

    def weigh(self, query: str) -> dict[str, float]:
        """How much each word of a query says, summing to 1: the rarer the more, as in BM25."""
        raw = {word: log(1 + (self._count + 0.5) / (len(self._lines.get(word, ())) + 0.5)) for word in words(query)}
        whole = sum(raw.values())
        return {word: weight / whole for word, weight in raw.items()}

    def find(self, weights: Mapping[str, float], n: int, mask: Mask | None = None) -> list[int]:
        """At most n lines that hold most of the words, by weight; words in very many lines are not looked for."""
        found: dict[int, float] = defaultdict(float)
        for word, weight in weights.items():
            lines = self._lines.get(word, [])
            for id_ in lines if len(lines) <= _COMMON else ():
                if mask is None or mask[id_]:
                    found[id_] += weight
        return nlargest(n, found, key=lambda id_: (found[id_], -id_))


def share(weights: Mapping[str, float], text: str) -> float:
    """How much of a query, in [0, 1], a text says word by word."""
    held = set(words(text))
    return sum(weight for word, weight in weights.items() if word in held)
