"""From tokens back to text, one token at a time."""

from __future__ import annotations

from typing import Any

_PARTIAL = "\ufffd"  # what a decoder shows for bytes that are not yet a whole character


class Spelling:
    """Spells a reply token by token, so that the pieces joined are the reply.

    A token that ends inside a character spells nothing; the token that completes the character spells all of it.
    Only a short window is decoded for each token (the method of Hugging Face's text-generation-inference).
    """

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._ids: list[int] = []
        self._start = 0
        self._read = 0

    def add(self, token: int) -> str:
        """The text that one more token adds."""
        self._ids.append(token)
        piece = self._pending()
        if not piece or piece.endswith(_PARTIAL):
            return ""
        self._start, self._read = self._read, len(self._ids)
        return piece

    def rest(self) -> str:
        """What is still held back when the reply is over."""
        piece = self._pending()
        self._start = self._read = len(self._ids)
        return piece

    def _pending(self) -> str:
        return self._decode(len(self._ids))[len(self._decode(self._read)) :]

    def _decode(self, end: int) -> str:
        window = self._ids[self._start : end]
        return str(self._tokenizer.decode(window, skip_special_tokens=True, clean_up_tokenization_spaces=False))
