"""Which part of a reply each of its tokens spells."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from agents.engine import Token

_PARTIAL = "\ufffd"  # what servers show for bytes that are no whole character
_GAP = 16  # characters between two tokens that can be found, at most


def spelled(shown: Sequence[tuple[str, float]], text: str) -> tuple[Token, ...]:
    """Tokens whose texts joined are the reply, from what a server shows of them, each with its log-probability.

    A token that is no whole characters is shown in as many ways as there are servers. Such a token gets whatever
    stands before the next one that can be found. White space that servers cut off, as around a thought, is nowhere.
    What comes after the reply, such as the mark that ends a turn, is no part of it.
    """
    tokens: list[Token] = []
    read, waiting = 0, False
    for piece, logprob in shown:
        if read >= len(text):
            break
        found = _find(piece, text, read, 0 if piece.isspace() and not waiting else _GAP)
        if found is None:
            tokens.append(Token("", logprob))
            waiting = waiting or not piece.isspace()
            continue
        if found > read and tokens:
            tokens[-1] = replace(tokens[-1], text=tokens[-1].text + text[read:found])
            read = found
        end = found + len(piece)
        tokens.append(Token(text[read:end], logprob))
        read, waiting = end, False
    if read < len(text) and tokens:
        tokens[-1] = replace(tokens[-1], text=tokens[-1].text + text[read:])
    return tuple(tokens)


def _find(piece: str, text: str, start: int, gap: int) -> int | None:
    if not piece or _PARTIAL in piece:
        return None
    found = text.find(piece, start, start + len(piece) + gap)
    return None if found < 0 else found
