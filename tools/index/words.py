"""Which lines hold a word, and how much it says that they do: for numbers and names, which vectors blur."""

from collections import defaultdict
from collections.abc import Mapping
from heapq import nlargest
from math import log

from tools.embedder import words
from tools.index.table import Mask

_COMMON, _SHARE, _FEW = 1024, 0.05, 16
"""Lines: a word in more of them, or in a larger share of all, finds none, unless it is in few."""


class Words:
    """Lines by their words."""

    def __init__(self) -> None:
        self._lines: dict[str, list[int]] = {}
        self._count = 0

    def add(self, number: int, text: str) -> None:
        """Note a line's words."""
        self._count += 1
        for word in set(words(text)):
            self._lines.setdefault(word, []).append(number)

    def remove(self, number: int, text: str) -> None:
        """Forget a line that was added with this text."""
        self._count -= 1
        for word in set(words(text)):
            self._lines[word].remove(number)

    def weigh(self, query: str) -> dict[str, float]:
        """How much each word of a query says, summing to 1: the rarer the more, as in BM25."""
        raw = {word: log(1 + (self._count + 0.5) / (len(self._lines.get(word, ())) + 0.5)) for word in words(query)}
        whole = sum(raw.values())
        return {word: weight / whole for word, weight in raw.items()}

    def find(self, weights: Mapping[str, float], n: int, mask: Mask | None = None) -> list[int]:
        """At most n lines that hold most of the words, by weight. Common words are not looked for."""
        common = max(_FEW, min(_COMMON, int(_SHARE * self._count)))
        found: dict[int, float] = defaultdict(float)
        for word, weight in weights.items():
            lines = self._lines.get(word, [])
            for number in lines if len(lines) <= common else ():
                if mask is None or mask[number]:
                    found[number] += weight
        return nlargest(n, found, key=lambda number: (found[number], -number))


def share(weights: Mapping[str, float], text: str) -> float:
    """How much of a query, in [0, 1], a text says word by word."""
    held = set(words(text))
    return sum(weight for word, weight in weights.items() if word in held)
