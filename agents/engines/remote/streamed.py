"""A chat completion that comes in chunks: put together into the whole one, and told while it comes."""

from __future__ import annotations

from typing import Any

from agents.engine import Hear
from agents.engines.remote.thought import TAGS

Json = dict[str, Any]


class Streamed:
    """The only sample of one request. Its text is told as `Reply.text` will say it, thoughts between <think> tags.

    `silent` models may leave out the tag before their thought, so nothing is told until it is known where that ends.
    """

    def __init__(self, hear: Hear, *, silent: bool = False) -> None:
        self._hear = hear
        self._silent = silent
        self._message = {"content": "", "reasoning": ""}
        self._positions: list[Json] = []
        self._finish: str | None = None
        self._usage: Json | None = None

    @property
    def over(self) -> bool:
        """Whether the reply has come to its end: a stream that breaks off before is no reply."""
        return self._finish is not None and self._usage is not None

    @property
    def whole(self) -> Json:
        """The completion as the server would have sent it at once."""
        logprobs = {"content": self._positions} if self._positions else None
        choice = {"message": self._message, "finish_reason": self._finish, "logprobs": logprobs}
        return {"choices": [choice], "usage": self._usage}

    def add(self, chunk: Json) -> None:
        """Take the next chunk in."""
        self._usage = chunk.get("usage") or self._usage
        for choice in chunk.get("choices") or ():
            delta = choice.get("delta") or {}
            self._think(delta.get("reasoning") or delta.get("reasoning_content") or "")
            self._say(delta.get("content") or "")
            self._positions += (choice.get("logprobs") or {}).get("content") or ()
            self._finish = choice.get("finish_reason") or self._finish

    def _think(self, words: str) -> None:
        if words:
            self._hear(words if self._message["reasoning"] else TAGS[0] + words)
            self._message["reasoning"] += words
            self._silent = False

    def _say(self, words: str) -> None:
        if not words:
            return
        thought, said = self._message["reasoning"], self._message["content"]
        self._message["content"] += words
        if self._silent:
            self._break_silence()
        else:
            self._hear(TAGS[1] + words if thought and not said else words)

    def _break_silence(self) -> None:
        said = self._message["content"]
        if TAGS[1] in said:
            self._silent = False
            self._hear(said if TAGS[0] in said else TAGS[0] + said)
