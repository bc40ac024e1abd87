"""A tool for which the model itself is asked: the same form as any tool, one floor up."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from agents.engine import Picture
from tools.scene import Scene
from tools.tool import AnyTool, Fact, Observation

if TYPE_CHECKING:
    from agents.run import Run


class Skill(AnyTool):
    """A tool that looks and asks through the run, which pays for it."""

    async def apply(self, run: Run, scene: Scene) -> Observation:
        """Do it. Raises ToolError for what the model must change, BadVideo, BudgetExceeded, EngineError, TooLong."""
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class Result:
    """What came of a tool: what it reports, and the pictures that it wants shown."""

    tool: AnyTool
    observation: Observation
    pictures: tuple[Picture, ...] = ()

    def keeping(self, facts: tuple[Fact, ...]) -> Result:
        """The same with only some of its facts."""
        return replace(self, observation=self.observation.model_copy(update={"data": facts}))
