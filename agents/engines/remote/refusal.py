"""What a refusal means: servers say it in words, each in its own."""

from __future__ import annotations

import re
from dataclasses import dataclass

_TOO_LONG = re.compile(
    r"context.{0,10}length|max_model_len|maximum model length|prompt is too long|too many (input )?tokens"
    r"|exceeds? the (available )?context",
    re.IGNORECASE,
)
_CONTEXT = re.compile(r"(?:context length|max_model_len|context size|context window)\D{0,20}(\d{3,})", re.IGNORECASE)
_PROMPT = re.compile(
    r"(?:contains (?:at least )?|resulted in |requested |input length \()(\d{3,})(?: input)?(?: tokens|\))",
    re.IGNORECASE,
)
_PICTURES = re.compile(r"at most (\d+) image", re.IGNORECASE)
_MISSED = re.compile(r"cache.?miss", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Excess:
    """A prompt was too much: the model reads `context` tokens, or `pictures`, and the prompt has `tokens`.

    None is what was not said.
    """

    context: int | None = None
    tokens: int | None = None
    pictures: int | None = None


def excess(words: str) -> Excess | None:
    """What a refusal says about the size of a prompt; None if it is about something else."""
    if (pictures := _number(_PICTURES, words)) is not None:
        return Excess(pictures=pictures)
    if not _TOO_LONG.search(words):
        return None
    return Excess(_number(_CONTEXT, words), _number(_PROMPT, words))


def missed(words: str) -> bool:
    """Whether the server no longer has what it was expected to have."""
    return bool(_MISSED.search(words))


def _number(pattern: re.Pattern[str], words: str) -> int | None:
    found = pattern.search(words)
    return int(found[1]) if found else None
