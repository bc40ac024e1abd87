"""What a prompt may take, in tokens, before it is sent: upper bounds."""

from __future__ import annotations

from agents.engine import Engine, Prompt, pictures_of, texts_of

_TEMPLATE = 64  # tokens; more than chat templates and the system prompts in them were seen to add
_TURN = 16


def one_by_one(engine: Engine, prompt: Prompt) -> int:
    """Upper bound of prompt tokens for pictures that are shown one by one."""
    return sum(engine.frame_tokens(each.frame.side) for each in pictures_of(prompt))


def reserve(engine: Engine, prompt: Prompt, *, text_tokens: int | None = None) -> int:
    """Upper bound of a prompt's tokens, of which its words take `text_tokens`, or one for each byte if not counted."""
    words = sum(len(text.encode()) for text in texts_of(prompt)) if text_tokens is None else text_tokens
    return words + engine.picture_tokens(prompt) + _TURN * len(prompt) + _TEMPLATE
