"""What a server has been sent and may still hold."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable

_MOST = 65_536  # names; some 10 MB here, and more frames than vLLM's cache of 4 GiB holds


class Sent:
    """Names of media that arrived, the least recently used forgotten first.

    A name counts only once its request was answered: two requests that bring the same frame at once both send it.
    """

    def __init__(self, most: int = _MOST) -> None:
        self._most = most
        self._names: OrderedDict[str, None] = OrderedDict()

    def __len__(self) -> int:
        return len(self._names)

    def among(self, names: Iterable[str]) -> frozenset[str]:
        """Those of the names that the server should hold."""
        return frozenset(name for name in names if name in self._names)

    def add(self, names: Iterable[str]) -> None:
        """These have arrived, or were used again."""
        for name in names:
            self._names[name] = None
            self._names.move_to_end(name)
        while len(self._names) > self._most:
            self._names.popitem(last=False)

    def forget(self, names: Iterable[str]) -> None:
        """The server no longer holds these."""
        for name in names:
            self._names.pop(name, None)

    def clear(self) -> None:
        """The server holds nothing any more."""
        self._names.clear()
