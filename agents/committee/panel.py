"""Panel stages: members with different inputs answer; an organiser decides. VideoMultiAgents, arXiv:2504.20091."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import Field

from agents.committee.base import CommitteeStage, CommitteeState, Opinion
from agents.core.model_client import compose_prompt
from agents.core.run import Run
from agents.core.tools import ToolResult
from agents.engines.base import Picture, Sampling
from agents.model_tools.caption import Caption
from agents.prompts import agentic, committee
from tools.builtin.segment import Segment
from tools.context import ViewLimits
from tools.video.sampling import uniform

Member = Literal["text", "video", "graph"]

_PARTS = 4  # parts of the video that are captioned for members without frames
_IMAGES = 5  # frames from which each part is captioned


class Panel(CommitteeStage):
    """Members answer independently: `text` from captions, `video` from frames, `graph` from a scene graph in words.

    If all agree, their answer is final.
    """

    do: Literal["panel"] = "panel"
    members: tuple[Member, ...] = Field(
        ("text", "video", "graph"), min_length=1, max_length=3, description="Members of the panel."
    )
    frames: int = Field(32, ge=1, le=1024, description="Frames shown to the member `video`.")
    temperature: float = Field(0.7, ge=0, le=2, description="Sampling temperature.")
    max_tokens: int = Field(256, ge=16, le=8192, description="Longest reasoning, in tokens.")

    async def run(self, state: CommitteeState) -> None:
        results = await state.run.gather(self._member(state.run, member) for member in self.members)
        for _, described in results:  # in the order of members, not of completion
            for result in described:
                state.findings.add(result)
        said = [opinion for opinion, _ in results]
        state.opinions += said
        values = {each.said.value for each in said}
        if len(values) == 1 and None not in values:
            state.answer, state.settled = said[0].said, True

    async def _member(self, run: Run, member: Member) -> tuple[Opinion, Sequence[ToolResult]]:
        pictures: Sequence[Picture] = ()
        read: Sequence[ToolResult] = ()
        if member == "video":
            pictures = await run.look(uniform(run.span, self.frames))
        else:
            read = await _described(run, committee.LOOK_FOR[member].format(run.question.text))
        facts = [fact for result in read for fact in result.observation.data]
        sampling = Sampling(temperature=self.temperature, max_tokens=self.max_tokens, think=True)
        text = f"{agentic.weigh_evidence(run.question_text, facts)}\n{run.thinking_instruction}"
        reply = await run.send(compose_prompt(pictures, text, run.opening), sampling, f"member {member}")
        return Opinion(member, run.parse(reply), reply.text), read


class Organise(CommitteeStage):
    """Decide, given the opinions of all members."""

    do: Literal["organise"] = "organise"

    async def run(self, state: CommitteeState) -> None:
        run = state.run
        said = [(each.by, each.reasons or each.said.display) for each in state.opinions]
        text = f"{committee.opinions(run.question_text, said, state.findings.known)}\n{run.instruction}"
        state.answer = await run.choose_after(compose_prompt((), text, run.opening))


async def _described(run: Run, instruction: str) -> Sequence[ToolResult]:
    cut = await run.call_tool(Segment(start=run.span.start, end=run.span.end, parts=_PARTS), run.tool_context())
    scene = run.tool_context(ViewLimits(frames=_IMAGES, fps=0.0))
    tools = [Caption(start=part.start, end=part.end, instruction=instruction) for part in cut.observation.data]
    return await run.gather(run.call_tool(tool, scene) for tool in tools)
