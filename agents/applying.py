"""Apply a tool for a run: what it took is measured, what went wrong is told to the model instead of raised."""

from __future__ import annotations

import asyncio
from time import perf_counter
from typing import TYPE_CHECKING

from agents.budget import BudgetExceeded
from agents.engine import EngineError, Picture, TooLong
from agents.skill import Result, Skill
from agents.trace import Used
from tools.index import IndexDown, IndexFull
from tools.limits import BadVideo
from tools.scene import Scene
from tools.tool import AnyTool, Cost, Observation, Tool, ToolError

if TYPE_CHECKING:
    from agents.run import Run

_SHOWN = 20  # lines of data that the trace of one call holds


async def applied(tool: AnyTool, run: Run, scene: Scene) -> Result:
    """The result of a tool. Only bugs are raised, and cancellation."""
    began, before = perf_counter(), _spent(run)
    try:
        observation, pictures = await _applied(tool, run, scene)
    except ToolError as error:
        observation, pictures = Observation.failed(error), ()
    except BadVideo as error:
        observation, pictures = _failed("unreadable", f"These frames cannot be read: {error}", "Try other seconds."), ()
    except (IndexDown, IndexFull) as error:
        observation, pictures = _failed("index", str(error), "Look at the film with another tool."), ()
    except (EngineError, TooLong) as error:
        observation, pictures = _failed("failed", f"The tool failed: {error}", "Try less of the film at once."), ()
    except BudgetExceeded as limit:
        observation, pictures = _failed("budget", f"The budget has no room for this: {limit}.", "Answer now."), ()
    calls, frames, tokens = (now - then for now, then in zip(_spent(run), before, strict=True))
    cost = Cost(calls=calls, frames=frames, tokens=tokens, seconds=round(perf_counter() - began, 4))
    return Result(tool, observation.model_copy(update={"cost": cost}), pictures)


async def _applied(tool: AnyTool, run: Run, scene: Scene) -> tuple[Observation, tuple[Picture, ...]]:
    if isinstance(tool, Skill):
        observation = await tool.apply(run, scene)
    elif isinstance(tool, Tool):
        observation = await asyncio.to_thread(tool.apply, scene)
    else:
        raise TypeError(f"{tool.name} cannot be applied")
    pictures = () if observation.exhibit is None else await run.reveal(observation.exhibit)
    return observation, pictures


def told(result: Result) -> Used:
    """The result as an event of the trace."""
    seen = result.observation
    return Used(
        tool=result.tool.name,
        arguments=result.tool.arguments,
        summary=seen.summary,
        data=tuple(fact.model_dump(exclude_none=True) for fact in seen.data[:_SHOWN]),
        times=tuple(round(picture.time, 3) for picture in result.pictures),
        warnings=seen.warnings,
        error=seen.error.code if seen.error else None,
        seconds=seen.cost.seconds,
    )


def _spent(run: Run) -> tuple[int, int, int]:
    ledger = run.ledger
    return ledger.calls, ledger.frames_viewed, ledger.prompt_tokens + ledger.completion_tokens


def _failed(code: str, message: str, hint: str) -> Observation:
    return Observation.failed(ToolError(code, message, hint))
