"""Tools that ask the model, and how a run calls any tool: costs are measured, failures become observations."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from time import perf_counter
from typing import TYPE_CHECKING

from agents.core.budget import BudgetExceeded
from agents.core.trace import ToolEvent
from agents.engines.base import EngineError, Picture, PromptTooLong
from tools.base import BaseTool, Fact, Observation, Tool, ToolCost, ToolError
from tools.context import ToolContext
from tools.index.index import IndexFull
from tools.index.storage import IndexUnavailable
from tools.video.limits import BadVideo

if TYPE_CHECKING:
    from agents.core.run import Run


class ModelTool(BaseTool):
    """A tool that looks and asks through the run, which pays for it."""

    async def apply(self, run: Run, scene: ToolContext) -> Observation:
        """Do it. Raises ToolError for what the model must change, BadVideo, BudgetExceeded, EngineError, TooLong."""
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class ToolResult:
    """What came of a tool: what it reports, and the pictures that it wants shown."""

    tool: BaseTool
    observation: Observation
    pictures: tuple[Picture, ...] = ()

    def keeping(self, facts: tuple[Fact, ...]) -> ToolResult:
        """The same with only some of its facts."""
        return replace(self, observation=self.observation.model_copy(update={"data": facts}))


_MAX_DATA_LINES = 20  # lines of data that the trace of one call holds


async def run_tool(tool: BaseTool, run: Run, scene: ToolContext) -> ToolResult:
    """The result of a tool. Only bugs are raised, and cancellation."""
    began, before = perf_counter(), _usage_so_far(run)
    try:
        observation, pictures = await _apply(tool, run, scene)
    except ToolError as error:
        observation, pictures = Observation.failed(error), ()
    except BadVideo as error:
        observation, pictures = _failed("unreadable", f"These frames cannot be read: {error}", "Try other seconds."), ()
    except (IndexUnavailable, IndexFull) as error:
        observation, pictures = _failed("index", str(error), "Look at the film with another tool."), ()
    except (EngineError, PromptTooLong) as error:
        observation, pictures = _failed("failed", f"The tool failed: {error}", "Try less of the film at once."), ()
    except BudgetExceeded as limit:
        observation, pictures = _failed("budget", f"The budget has no room for this: {limit}.", "Answer now."), ()
    calls, frames, tokens = (now - then for now, then in zip(_usage_so_far(run), before, strict=True))
    cost = ToolCost(calls=calls, frames=frames, tokens=tokens, seconds=round(perf_counter() - began, 4))
    return ToolResult(tool, observation.model_copy(update={"cost": cost}), pictures)


async def _apply(tool: BaseTool, run: Run, scene: ToolContext) -> tuple[Observation, tuple[Picture, ...]]:
    if isinstance(tool, ModelTool):
        observation = await tool.apply(run, scene)
    elif isinstance(tool, Tool):
        observation = await asyncio.to_thread(tool.apply, scene)
    else:
        raise TypeError(f"{tool.name} cannot be applied")
    pictures = () if observation.frame_request is None else await run.load_exhibit(observation.frame_request)
    return observation, pictures


def tool_event(result: ToolResult) -> ToolEvent:
    """The result as an event of the trace."""
    seen = result.observation
    return ToolEvent(
        tool=result.tool.name,
        arguments=result.tool.arguments,
        summary=seen.summary,
        data=tuple(fact.model_dump(exclude_none=True) for fact in seen.data[:_MAX_DATA_LINES]),
        times=tuple(round(picture.time, 3) for picture in result.pictures),
        warnings=seen.warnings,
        error=seen.error.code if seen.error else None,
        seconds=seen.cost.seconds,
    )


def _usage_so_far(run: Run) -> tuple[int, int, int]:
    ledger = run.usage
    return ledger.calls, ledger.frames_viewed, ledger.prompt_tokens + ledger.completion_tokens


def _failed(code: str, message: str, hint: str) -> Observation:
    return Observation.failed(ToolError(code, message, hint))
