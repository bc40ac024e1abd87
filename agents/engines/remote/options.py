"""What an engine's address says after its question mark."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from agents.answer import Manner
from agents.engine import EngineError
from agents.engines.manner import manner
from agents.profiles import Packing

Dialect = Literal["openai", "vllm"]

_DIALECTS: Mapping[str, Dialect] = {"openai": "openai", "vllm": "vllm"}
_PACKINGS: Mapping[str, Packing] = {"images": "images", "video": "video"}
NAMES = ("answers", "context", "dialect", "model", "packing", "profile", "side", "timeout")
SECONDS = 600.0


@dataclass(frozen=True, slots=True)
class Options:
    """None is found out: from the server, or from the model's profile. `side` is in pixels, `context` in tokens."""

    model: str | None = None
    dialect: Dialect | None = None
    profile: str | None = None
    packing: Packing | None = None
    answers: Manner | None = None
    side: int | None = None
    context: int | None = None
    timeout: float = SECONDS


def options_of(given: Mapping[str, str]) -> Options:
    """Options from an address. Raises EngineError, in words for whoever wrote it."""
    if unknown := sorted(given.keys() - set(NAMES)):
        raise EngineError(f"unknown option {unknown[0]!r}: an openai engine has {', '.join(NAMES)}")
    side, context = _number(given, "side"), _number(given, "context")
    return Options(
        model=given.get("model"),
        dialect=_DIALECTS[_one_of(given, "dialect", _DIALECTS)] if "dialect" in given else None,
        profile=given.get("profile"),
        packing=_PACKINGS[_one_of(given, "packing", _PACKINGS)] if "packing" in given else None,
        answers=manner(given) if "answers" in given else None,
        side=None if side is None else int(side),
        context=None if context is None else int(context),
        timeout=_number(given, "timeout") or SECONDS,
    )


def _one_of(given: Mapping[str, str], name: str, known: Mapping[str, object]) -> str:
    if given[name] not in known:
        raise EngineError(f"{name} must be one of {', '.join(known)}, not {given[name]!r}")
    return given[name]


def _number(given: Mapping[str, str], name: str) -> float | None:
    if name not in given:
        return None
    try:
        value = float(given[name])
    except ValueError:
        value = 0
    if not 0 < value < 1e8:
        raise EngineError(f"{name} must be a positive number, not {given[name]!r}")
    return value
