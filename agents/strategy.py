"""A strategy is a request that knows how to run itself: its fields are its parameters, its one verb is `answer`."""

from __future__ import annotations

import re
from inspect import cleandoc
from typing import ClassVar, Literal

from pydantic import BaseModel, ConfigDict

from agents.answer import Answer
from agents.engine import Offer
from agents.run import Run

Extra = Literal["ocr", "detect"]
"""Tools for which something must be installed."""
_PAPER = re.compile(r"arXiv:\s?(\d{4}\.\d{4,5})")


class Strategy(BaseModel):
    """A published way of spending inference compute. Parameters are fields with default, bounds, description.

    `needs` is what the engine must offer. `whole`: the model sees one look of `frames` and no more, so that where
    nobody says how many, the model's own best number is taken. A strategy holds no state and never imports another.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    needs: ClassVar[frozenset[Offer]] = frozenset()
    whole: ClassVar[bool] = False
    name: str

    async def answer(self, run: Run) -> Answer:
        """Answer the run's question, proposing the best answer so far on the way."""
        raise NotImplementedError

    def requires(self) -> frozenset[Offer]:
        """What the engine must offer for this strategy with these parameters."""
        return self.needs

    def extras(self) -> frozenset[Extra]:
        """The tools it was told to use for which something must be installed."""
        return frozenset()

    @classmethod
    def manual(cls) -> str:
        """The documentation: what it does, when to use it, whose idea it is."""
        return cleandoc(cls.__doc__ or "")

    @classmethod
    def papers(cls) -> tuple[str, ...]:
        """arXiv numbers that the documentation cites."""
        return tuple(_PAPER.findall(cls.manual()))
