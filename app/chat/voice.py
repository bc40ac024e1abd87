"""What one choice of a streamed reply says, word by word: its reasoning and its answer."""

from __future__ import annotations

from agents.draft import Delta
from agents.trace import Asked, Event
from app.chat.narration import narrate, spoken


class Voice:
    """Puts what happens and what is being written into one text, as `narrate` would tell it afterwards.

    While one call is being told, what else happens waits until that one is told to its end. `content` is what has
    been told of the answer; where `formed`, the answer is put into a form first, so that none of it can be told early.
    """

    def __init__(self, *, formed: bool) -> None:
        self.content = ""
        self._formed = formed
        self._call: int | None = None
        self._reply = self._said = self._waiting = ""

    def hear(self, delta: Delta) -> tuple[str, str]:
        """The next words of the reasoning and of the answer; each may be none."""
        if delta.part == "answer":
            words = "" if self._formed else delta.text
            self.content += words
            return "", words
        before = "" if delta.call == self._call else self._give_up()
        self._call = delta.call
        self._reply += delta.text
        said, self._said = self._said, spoken(delta.purpose, self._reply)
        return before + self._said[len(said) :], ""

    def tell(self, event: Event) -> str:
        """The next words of the reasoning. Of a call that was heard, only what is missing."""
        words = narrate(event)
        if isinstance(event, Asked) and event.call == self._call:
            rest = words[len(self._said) :] + self._waiting
            self._forget()
            return rest
        if self._said:
            self._waiting += words
            return ""
        return words

    def close(self, content: str) -> str:
        """What is left of the answer. What was told of one that ran out of budget stands as it is: it was cut off."""
        return content[len(self.content) :] if content.startswith(self.content) else ""

    def _give_up(self) -> str:
        """The end of a call that was not finished."""
        rest = f"\n{self._waiting}" if self._said else ""
        self._forget()
        return rest

    def _forget(self) -> None:
        self._call = None
        self._reply = self._said = self._waiting = ""
