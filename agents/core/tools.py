"""Tool calls: their cost is measured, failures become observations, results become events."""

from __future__ import annotations

from collections.abc import Awaitable
from dataclasses import dataclass, replace
from time import perf_counter

from agents.core.budget import BudgetExceeded
from agents.core.trace import ToolEvent
from agents.core.usage import RunUsage
from agents.engines.base import EngineError, Picture, PromptTooLong
from tools.base import BaseTool, Fact, Observation, ToolCost, ToolError
from tools.index.index import IndexFull
from tools.index.storage import IndexUnavailable
from tools.video.limits import BadVideo


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


async def measure_tool(
    tool: BaseTool, usage: RunUsage, work: Awaitable[tuple[Observation, tuple[Picture, ...]]]
) -> ToolResult:
    """The result of a tool's work and what it cost. Only bugs are raised, and cancellation."""
    began, before = perf_counter(), _totals(usage)
    try:
        observation, pictures = await work
    except ToolError as error:
        observation, pictures = Observation.failed(error), ()
    except BadVideo as error:
        observation, pictures = _failed("unreadable", f"These frames cannot be read: {error}", "Try other seconds."), ()
    except (IndexUnavailable, IndexFull) as error:
        observation, pictures = _failed("index", str(error), "Look at the video with another tool."), ()
    except (EngineError, PromptTooLong) as error:
        observation, pictures = _failed("failed", f"The tool failed: {error}", "Try less of the video at once."), ()
    except BudgetExceeded as limit:
        observation, pictures = _failed("budget", f"The budget has no room for this: {limit}.", "Answer now."), ()
    calls, frames, tokens = (now - then for now, then in zip(_totals(usage), before, strict=True))
    cost = ToolCost(calls=calls, frames=frames, tokens=tokens, seconds=round(perf_counter() - began, 4))
    return ToolResult(tool, observation.model_copy(update={"cost": cost}), pictures)


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


def _totals(usage: RunUsage) -> tuple[int, int, int]:
    return usage.calls, usage.frames_viewed, usage.prompt_tokens + usage.completion_tokens


def _failed(code: str, message: str, hint: str) -> Observation:
    return Observation.failed(ToolError(code, message, hint))
