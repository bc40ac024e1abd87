"""What the model is writing just now, told piece by piece to whoever reads along. Nothing of it is kept."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class Delta(BaseModel):
    """A piece of a reply that is being written. The event `asked` of the same call has the whole reply."""

    model_config = ConfigDict(frozen=True)

    event: Literal["delta"] = "delta"
    call: int = Field(description="Number of the call to the model, as in `asked`.")
    purpose: str
    part: Literal["reply", "answer"] = Field(
        description="reply: the next words that the model writes. answer: the next words of the answer, among them."
    )
    text: str


Reader = Callable[[Delta], None]
"""Somebody who reads along."""
Settled = Callable[[str], str]
"""What of the answer is sure, given the reply so far: a longer reply only adds to it."""


class Draft:
    """One reply on its way to a reader. With `settled` the reply is the last one, and holds the answer."""

    def __init__(self, call: int, purpose: str, reader: Reader, settled: Settled | None = None) -> None:
        self._call = call
        self._purpose = purpose
        self._reader = reader
        self._settled = settled
        self._reply = self._answer = ""

    def hear(self, piece: str) -> None:
        """Pass on the next piece of the reply."""
        if not piece:
            return
        self._reply += piece
        self._tell("reply", piece)
        sure = self._settled(self._reply) if self._settled else ""
        if more := sure[len(self._answer) :]:
            self._answer = sure
            self._tell("answer", more)

    def _tell(self, part: Literal["reply", "answer"], text: str) -> None:
        self._reader(Delta(call=self._call, purpose=self._purpose, part=part, text=text))
