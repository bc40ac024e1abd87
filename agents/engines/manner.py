"""The engine option `answers`: how a model states its choice among options."""

from __future__ import annotations

from collections.abc import Mapping

from agents.answer import Manner
from agents.engine import EngineError

_MANNERS: Mapping[str, Manner] = {"letter": "letter", "text": "text"}


def manner(options: Mapping[str, str]) -> Manner:
    """What an engine's URL says, by letter if it says nothing. Raises EngineError."""
    if (named := options.get("answers", "letter")) not in _MANNERS:
        raise EngineError(f"answers must be one of {', '.join(_MANNERS)}, not {named!r}")
    return _MANNERS[named]
