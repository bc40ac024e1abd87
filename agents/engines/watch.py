"""Who is told what happens on the way to a model server, and what is said to the server about the way."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, Protocol

Mishap = Literal["retried", "failed"]
"""retried: a request was sent again. failed: one was given up."""


class Watch(Protocol):
    """Watches requests to a model server."""

    def mishap(self, kind: Mishap) -> None:
        """Something went wrong."""

    def headers(self) -> Mapping[str, str]:
        """Headers that say what a request is part of, such as W3C's traceparent."""


class Nobody:
    """Nobody watches."""

    def mishap(self, kind: Mishap) -> None:
        """Not noted."""

    def headers(self) -> Mapping[str, str]:
        """None."""
        return {}
