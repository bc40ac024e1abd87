"""Few frames first, more while the answers differ."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import Field

from agents.core.question import Answer
from agents.core.run import Run
from agents.engines.base import Picture, Sampling
from agents.parsing.answers import Sample
from agents.parsing.confidence import count_votes
from agents.strategies.base import Strategy
from tools.video.sampling import grid


class SparseToDense(Strategy):
    """Draw several answers on few frames; while they do not all agree, double the frames and draw again.

    The frames are a nested grid, so every round keeps the frames of the last one and decodes only new ones. Unparsed
    answers neither vote nor agree. Video-RTS, arXiv:2507.06485, without its training; the paper lets only
    the last round vote, `vote="pooled"` counts all.
    """

    name: Literal["sparse_to_dense"] = "sparse_to_dense"
    start: int = Field(8, ge=1, le=1024, description="Frames in the first round.")
    limit: int = Field(32, ge=1, le=1024, description="Most frames in one round.")
    samples: int = Field(5, ge=1, le=64, description="Answers drawn in each round.")
    temperature: float = Field(1.0, ge=0, le=2, description="The paper's five samples run from 0.8 to 1.4.")
    top_p: float = Field(0.95, gt=0, le=1, description="Nucleus sampling: probability mass that tokens are drawn from.")
    think: bool = Field(True, description="Reason before each answer.")
    vote: Literal["last", "pooled"] = Field("last", description="Which rounds vote.")
    order: Literal["time", "arrival"] = Field(
        "time", description="Order of the frames; `arrival` lets a server reuse its prefix cache of the last round."
    )
    max_tokens: int = Field(256, ge=16, le=8192, description="Longest chain, in tokens.")

    async def answer(self, run: Run) -> Answer:
        sampling = Sampling(temperature=self.temperature, top_p=self.top_p, max_tokens=self.max_tokens)
        voters: list[Sample] = []
        pictures: Sequence[Picture] = ()
        frames = self.start
        while True:
            with run.round(f"{frames} frames"):
                pictures = self._arranged(await run.look(grid(run.span, frames)), pictures)
                drawn = await run.ask(pictures, sampling, self.samples, "think" if self.think else "direct")
            voters = drawn if self.vote == "last" else voters + drawn
            tally = count_votes((each.value, 1.0) for each in voters)
            agreed = drawn[0].value is not None and len({each.value for each in drawn}) == 1
            leader = drawn[0].value if agreed else tally.leader
            share = tally.shares.get(leader or "")
            answer = run.propose(leader, share, shares=tally.shares, stopped="agreed" if agreed else "complete")
            frames *= 2
            if agreed or frames > self.limit:
                return answer

    def _arranged(self, pictures: Sequence[Picture], before: Sequence[Picture]) -> Sequence[Picture]:
        if self.order == "time":
            return pictures
        known = {picture.key for picture in before}
        return (*before, *(picture for picture in pictures if picture.key not in known))
