"""What a server said, in full."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

_WORDS = 500  # characters of what a server says that are kept


@dataclass(frozen=True, slots=True)
class Heard:
    """An HTTP status, the body that came with it, and the words that came with the status."""

    status: int
    content: bytes
    reason: str = ""

    @property
    def ok(self) -> bool:
        """Whether this is what was asked for."""
        return is_success(self.status)

    @property
    def words(self) -> str:
        """The server's own words, whichever of the customary forms it sends them in."""
        try:
            found = self.json()
        except ValueError:
            found = self.content.decode(errors="replace")
        for key in ("error", "message", "detail"):
            if isinstance(found, dict) and key in found:
                found = found[key]
        return str(found).strip()[:_WORDS] or self.reason

    def json(self) -> Any:
        """The body read as JSON. Raises ValueError."""
        return json.loads(self.content)


def is_success(status: int) -> bool:
    """Whether a status says that this is what was asked for."""
    return 200 <= status < 300
