"""Members who know different things answer each for themselves; if they disagree, someone reads them all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import Field

from agents import briefing as common
from agents.conversation import compose
from agents.engine import Picture, Sampling
from agents.run import Run
from agents.skill import Result
from agents.skills.caption import Caption
from agents.stages import briefing
from agents.stages.stage import Opinion, Stage, Table
from tools.moment import centres
from tools.partition import Partition
from tools.scene import ViewLimits

Member = Literal["text", "video", "graph"]

_PARTS = 4  # parts of the film that are described for those who only read
_IMAGES = 5  # frames from which each part is described


class Panel(Stage):
    """Each member answers alone: one reads descriptions, one sees frames, one reads who did what with what.

    If all say the same, that is the answer.
    """

    do: Literal["panel"] = "panel"
    members: tuple[Member, ...] = Field(("text", "video", "graph"), min_length=1, max_length=3, description="Who sits.")
    frames: int = Field(32, ge=1, le=1024, description="Frames that the one who sees is shown.")
    temperature: float = Field(0.7, ge=0, le=2, description="Heat of each answer.")
    max_tokens: int = Field(256, ge=16, le=8192, description="Longest reasoning, in tokens.")

    async def sit(self, table: Table) -> None:
        sat = await table.run.together(self._member(table.run, member) for member in self.members)
        for _, described in sat:  # in their order, not in that in which they were ready
            for result in described:
                table.findings.add(result)
        said = [opinion for opinion, _ in sat]
        table.opinions += said
        values = {each.said.value for each in said}
        if len(values) == 1 and None not in values:
            table.answer, table.settled = said[0].said, True

    async def _member(self, run: Run, member: Member) -> tuple[Opinion, Sequence[Result]]:
        """What a member says, and the descriptions that it has read."""
        pictures: Sequence[Picture] = ()
        read: Sequence[Result] = ()
        if member == "video":
            pictures = await run.look(centres(run.span, self.frames))
        else:
            read = await _described(run, briefing.LOOK_FOR[member].format(run.question.text))
        facts = [fact for result in read for fact in result.observation.data]
        sampling = Sampling(temperature=self.temperature, max_tokens=self.max_tokens, think=True)
        text = f"{common.weigh_evidence(run.asked, facts)}\n{run.thinking}"
        reply = await run.converse(compose(pictures, text, run.opening), sampling, f"member {member}")
        return Opinion(member, run.read(reply), reply.text), read


class Organise(Stage):
    """Read what all members say, and decide."""

    do: Literal["organise"] = "organise"

    async def sit(self, table: Table) -> None:
        run = table.run
        said = [(each.by, each.reasons or each.said.words) for each in table.opinions]
        text = f"{briefing.opinions(run.asked, said, table.findings.known)}\n{run.instruction}"
        table.answer = await run.conclude(compose((), text, run.opening))


async def _described(run: Run, instruction: str) -> Sequence[Result]:
    """Descriptions of equal parts of the film, made with an eye on something."""
    cut = await run.use(Partition(start=run.span.start, end=run.span.end, parts=_PARTS), run.scene())
    scene = run.scene(ViewLimits(frames=_IMAGES, fps=0.0))
    tools = [Caption(start=part.start, end=part.end, instruction=instruction) for part in cut.observation.data]
    return await run.together(run.use(tool, scene) for tool in tools)
