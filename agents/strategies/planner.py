"""Let the model search the video with tools."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal, get_args

from pydantic import Field

from agents.core.run import Run
from agents.engines.base import Picture, Sampling
from agents.planner.conversation import CallProtocol, choose_format
from agents.planner.loop import LoopConfig, PlannerLoop
from agents.planner.toolbox import TOOLS, Toolbox, ToolName
from agents.strategies.base import AgenticStrategy, Extra
from agents.strategies.verification import Challenge, answer_from_evidence, look_first
from tools.context import ViewLimits

_DEFAULT_TOOLS: tuple[ToolName, ...] = ("search_clips", "read_subtitles", "view", "zoom", "ask", "submit")


class Planner(AgenticStrategy):
    """Let the model call tools turn by turn until it answers: search captions and speech, look closer, zoom, ask.

    For long videos, where evenly spread frames miss what matters. With `shown` and `view` the model sees frames (VITAL,
    arXiv:2508.04416); without, it reads what tools return (DeepVideoDiscovery, arXiv:2505.18079). The direct answer
    stays a candidate: another one is returned only if a fresh look at its evidence supports it.
    """

    name: Literal["planner"] = "planner"
    tools: tuple[ToolName, ...] = Field(
        _DEFAULT_TOOLS, min_length=1, max_length=len(TOOLS), description="What the model may call."
    )
    rounds: int = Field(8, ge=1, le=64, description="Replies of the model; the last one must answer.")
    fps: float = Field(0, ge=0, le=30, description="Frames a second of the first look; 0 for as many as allowed.")
    shown: bool = Field(True, description="Whether the planner sees the first look too.")
    view_frames: int = Field(16, ge=1, le=1024, description="Most frames of one call.")
    view_fps: float = Field(2, ge=0, le=30, description="Frames a second of one call; 0 for as many as allowed.")
    view_tokens: int = Field(0, ge=0, le=1_000_000, description="Most tokens for the frames of a look; 0: no limit.")
    over: Literal["shrink", "refuse"] = Field(
        "shrink", description="What happens to a call that asks for more frames: shrink or refuse it."
    )
    hits: int = Field(8, ge=1, le=300, description="Clips that a search finds if the call names no number.")
    part: float = Field(0.6, ge=0, le=1, description="Found clips below this part of the best one's score are dropped.")
    speech: bool = Field(True, description="Whether a search also returns the subtitles of the clips it finds.")
    calls: int = Field(4, ge=1, le=16, description="Calls that one reply may make.")
    keep: int = Field(128, ge=0, le=4096, description="Frames of earlier calls that stay in the conversation.")
    replace: bool = Field(False, description="Whether frames of calls replace those of the first look.")
    reanswer: bool = Field(False, description="After the search, answer once more, constrained to the options.")
    review: bool = Field(False, description="Ask once more with the evidence alone, and return that answer.")
    protocol: CallProtocol = Field(
        "auto", description="Format of calls; terse: short lines, for a model trained on these tools."
    )
    temperature: float = Field(0.0, ge=0, le=2, description="Sampling temperature; 0 is greedy.")
    max_tokens: int = Field(256, ge=16, le=8192, description="Longest reply of the planner, in tokens.")

    def extras(self) -> frozenset[Extra]:
        return frozenset(extra for extra in get_args(Extra) if extra in self.tools)

    async def look(self, run: Run) -> tuple[Picture, ...]:
        return await look_first(run, self.frames, self.fps, self.view_tokens)

    async def challenge(self, run: Run, first: Sequence[Picture]) -> Challenge:
        search = PlannerLoop(
            run,
            Toolbox(self.tools),
            first if self.shown else (),
            way=choose_format(self.protocol, run),
            habits=LoopConfig(self.rounds, self.calls, self.keep, self.replace, self.reanswer),
            limits=self._limits,
            sampling=Sampling(temperature=self.temperature, max_tokens=self.max_tokens),
        )
        for turn in range(self.rounds):
            with run.round(f"turn {turn + 1}"):
                if await search.turn():
                    break
        found = Challenge(search.answer, search.executor.findings, search.stopped)
        return await answer_from_evidence(run, found, self.proof) if self.review else found

    @property
    def _limits(self) -> ViewLimits:
        looks = ViewLimits(self.view_frames, self.view_fps, self.view_tokens, on_excess=self.over)
        return replace(looks, hits=self.hits, min_relative_score=self.part, include_speech=self.speech)
