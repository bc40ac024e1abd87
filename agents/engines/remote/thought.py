"""What a model thinks by itself before it speaks, in the one form in which we know it: <think>…</think>."""

from __future__ import annotations

TAGS = ("<think>", "</think>")


def thought_and_said(thought: str | None, said: str, tags: tuple[str, str] = TAGS) -> str:
    """A reply with its thought in front. Servers send that apart, or leave it in the text between a model's own tags.

    Templates may end with the opening tag, which the text then lacks. A thought that is cut off is not closed.
    """
    if thought:
        return f"{TAGS[0]}{thought}{TAGS[1]}{said}" if said else f"{TAGS[0]}{thought}"
    opening, closing = tags
    text = said.replace(opening, TAGS[0], 1).replace(closing, TAGS[1], 1)
    return TAGS[0] + text if TAGS[1] in text and TAGS[0] not in text else text
