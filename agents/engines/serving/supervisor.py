"""Starts a model server, lets requests through while it is ready, and starts it again when it dies."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import httpx

from agents.engine import EngineError
from agents.engines.serving.child import Child, Ended
from agents.engines.serving.limits import Limits, Pace
from agents.engines.serving.output import Output
from agents.engines.serving.program import Program

T = TypeVar("T")

_LOG = logging.getLogger("secondlook.vllm")
_LOOK = 0.25  # seconds between two looks at whether it is healthy
_TELL = 15.0  # seconds between two lines about how far it is
_LAST = 8  # lines of its log

_STARTING = "The model server is being started."
_RESTARTING = "The model server has died and is being started again: try again in a while."
_GIVEN_UP = "The model server keeps dying and is not started again; the log says why."
_STOPPED = "The model server was stopped."


class Supervisor:
    """Keeps one program running. `warm` sends it what is slow the first time; only then is it ready.

    `problem` is why it is not ready, in words for callers; None while it is.
    """

    def __init__(self, program: Program, limits: Limits, warm: Callable[[], Coroutine[Any, Any, None]]) -> None:
        self.problem: str | None = _STARTING
        self.program = program
        self._limits = limits
        self._warm = warm
        self._name = f"the model server of {program.name}"
        self._output = Output(_LOG.info, program.key)
        self._child: Child | None = None
        self._first: asyncio.Task[Child] | None = None
        self._keeping: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Start it and wait until it is ready, once; later calls change nothing. Raises EngineError, with its log."""
        self._first = self._first or asyncio.ensure_future(self._launch())
        child = await asyncio.shield(self._first)
        self._keeping = self._keeping or asyncio.ensure_future(self._keep(child))

    async def during(self, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """The result of work that needs the server. Raises EngineError at once if it is not ready, or dies."""
        if self.problem is not None or self._child is None:
            raise EngineError(self.problem or _STARTING)
        try:
            return await self._child.during(work())
        except Ended:
            raise EngineError(_RESTARTING) from None

    async def stop(self) -> None:
        """Stop it, and wait until nothing of it is left."""
        self.problem = _STOPPED
        tasks = {task for task in (self._first, self._keeping) if task is not None}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._child is not None:
            await self._child.stop()

    async def _keep(self, child: Child) -> None:
        pace = Pace(self._limits)
        try:
            while True:
                status = await child.ended()
                self.problem = _RESTARTING
                _LOG.error("%s died: %s", self._name, self.program.explain(self._output.lines, status))
                child = await self._again(pace)
        except EngineError as error:
            _LOG.critical("%s is given up: %s", self._name, error)
        except Exception:
            _LOG.exception("%s is given up: a bug", self._name)
        self.problem = _GIVEN_UP

    async def _again(self, pace: Pace) -> Child:
        """Start it again, as often as the limits allow. Raises EngineError once there is no hope."""
        while (pause := pace.pause(time.monotonic())) is not None:
            _LOG.warning("%s is started again in %.1f s", self._name, pause)
            await asyncio.sleep(pause)
            try:
                return await self._launch()
            except EngineError as error:
                _LOG.error("%s", error.detail)
        limits = self._limits
        raise EngineError(f"{limits.restarts} restarts within {limits.window:g} s did not help")

    async def _launch(self) -> Child:
        """Start it and wait until it is ready. Nothing is left of one that does not become ready."""
        program = self.program
        self._output = Output(lambda line: _LOG.info("vllm: %s", line), program.key)
        _LOG.info("starting %s: %s", self._name, " ".join(program.command))
        try:
            child = await Child.start(program.command, program.environment, self._output, grace=self._limits.grace)
        except OSError as error:
            raise EngineError(f"{self._name} cannot be started: {error}") from error
        self._child = child
        try:
            await self._until_ready(child)
        except BaseException:
            await child.stop()
            raise
        self.problem = None
        return child

    async def _until_ready(self, child: Child) -> None:
        began = time.monotonic()
        try:
            async with asyncio.timeout(self._limits.startup):
                await child.during(self._until_healthy(began))
                _LOG.info("%s is loaded after %.0f s and warms up", self._name, time.monotonic() - began)
                await child.during(self._warm())
        except Ended as end:
            why = self.program.explain(self._output.lines, end.status)
            raise EngineError(f"{self._name} did not start: {why}") from None
        except TimeoutError:
            last = "".join(f"\n  {line}" for line in [*self._output.lines][-_LAST:])
            late = f"{self._name} is not ready after {self._limits.startup:g} s, which ?startup= sets"
            raise EngineError(f"{late}:{last}" if last else late) from None
        _LOG.info("%s is ready after %.0f s", self._name, time.monotonic() - began)

    async def _until_healthy(self, began: float) -> None:
        told = began
        async with httpx.AsyncClient(base_url=self.program.root, timeout=5.0, trust_env=False) as client:
            while not await _healthy(client):
                await asyncio.sleep(_LOOK)
                now = time.monotonic()
                if now - told >= _TELL:
                    told = now
                    _LOG.info("%s is loading for %.0f s: %s", self._name, now - began, self._output.latest)


async def _healthy(client: httpx.AsyncClient) -> bool:
    try:
        return (await client.get("/health")).is_success
    except httpx.HTTPError:
        return False
