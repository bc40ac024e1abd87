"""Run a model server: start it, watch it, restart it when it dies, stop it."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import time
from collections import deque
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from typing import Any, TypeVar

import httpx
from pydantic import BaseModel, ConfigDict, Field

from agents.engines.base import EngineError
from agents.engines.vllm import guard
from agents.engines.vllm.arguments import VllmCommand


class SupervisorLimits(BaseModel):
    """Time limits and restart limits of a model server."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    startup: float = Field(1800.0, gt=0, description="Seconds until it must be ready, download of weights included.")
    grace: float = Field(10.0, ge=0, description="Seconds from the request to stop until it is killed.")
    restarts: int = Field(5, ge=0, description="Restarts within a window; after one more exit it stays down.")
    window: float = Field(900.0, gt=0, description="Seconds for which a restart counts.")
    pause: float = Field(1.0, ge=0, description="Seconds before a restart, doubled for each other one in the window.")
    longest_pause: float = Field(60.0, ge=0, description="The most seconds before a restart.")


class RestartBackoff:
    """Exponential backoff between restarts."""

    def __init__(self, limits: SupervisorLimits) -> None:
        self._limits = limits
        self._restarts: list[float] = []

    def pause(self, now: float) -> float | None:
        """Count a restart and return the seconds to wait before it; None if there have been too many."""
        limits = self._limits
        self._restarts = [each for each in self._restarts if each > now - limits.window]
        recent = len(self._restarts)
        if recent >= limits.restarts:
            return None
        self._restarts.append(now)
        return float(min(limits.pause * 2**recent, limits.longest_pause))


_MAX_LINES = 400  # kept; enough for a traceback of each of its processes
_MAX_LINE_CHARS = 2000  # kept of a line; servers print whole configurations


class LogTail:
    """Passes each line to `on_line` and keeps the last ones, with `secret` masked.

    Text that a carriage return overwrites, as in progress bars, is not a line; `latest` holds it while it stands.
    """

    def __init__(self, on_line: Callable[[str], None], secret: str) -> None:
        self.lines: deque[str] = deque(maxlen=_MAX_LINES)
        self.latest = ""
        self._on_line = on_line
        self._secret = secret
        self._rest = b""

    def feed(self, data: bytes) -> None:
        """Add output of the program."""
        *ended, rest = (self._rest + data).split(b"\n")
        for line in ended:
            self._end(line)
        if len(rest) > 2 * _MAX_LINE_CHARS:  # a progress bar drawn many times, or no text at all
            rest = rest[-_MAX_LINE_CHARS:]
        self._rest = rest
        self.latest = self._shown(rest) or self.latest

    def close(self) -> None:
        """End the last line."""
        self._end(self._rest)
        self._rest = b""

    def _end(self, line: bytes) -> None:
        if shown := self._shown(line):
            self.latest = shown
            self.lines.append(shown)
            self._on_line(shown)

    def _shown(self, line: bytes) -> str:
        text = line.decode(errors="replace").replace(self._secret, "***")
        drawn = (each.rstrip() for each in reversed(text.split("\r")))
        return next((each for each in drawn if each), "")[:_MAX_LINE_CHARS]


T = TypeVar("T")

_SETTINGS_PREFIX = "SECONDLOOK_"  # settings of the service, its keys among them, are not passed on
_BUFFER = 65536  # bytes
_EXIT_LAG = 2.0  # seconds; a lost connection may be noticed this long before the exit
_GUARD_GRACE = 10.0  # seconds beyond the grace period, for the guard to end what is left
_SWEEPS = 100  # attempts to kill what is left, if the guard could not
_SWEEP = 0.05  # seconds between them


class ProcessExited(Exception):
    """The program exited with this status; above 128, by a signal."""

    def __init__(self, status: int) -> None:
        super().__init__(f"ended with status {status}")
        self.status = status


class GuardedProcess:
    """A program under `guard`, in its own process group. It inherits the environment without the service's settings."""

    def __init__(self, process: asyncio.subprocess.Process, reading: asyncio.Task[None], grace: float) -> None:
        self._process = process
        self._grace = grace
        self._ending = asyncio.ensure_future(self._attend(reading))

    @classmethod
    async def start(
        cls, command: Sequence[str], environment: Mapping[str, str], output: LogTail, *, grace: float
    ) -> GuardedProcess:
        """Start the program. When it is asked to stop, it is killed after `grace` seconds. Raises OSError."""
        ours, theirs = os.pipe()
        try:
            reading = asyncio.ensure_future(_read_output(ours, output))
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-I", "-S", guard.__file__, str(os.getpid()), str(grace), *command),
                env={
                    **{key: value for key, value in os.environ.items() if not key.startswith(_SETTINGS_PREFIX)},
                    **environment,
                },
                stdin=asyncio.subprocess.DEVNULL,
                stdout=theirs,
                stderr=theirs,
                start_new_session=True,
            )
        finally:
            os.close(theirs)
        return cls(process, reading, grace)

    async def wait(self) -> int:
        """Wait until it and all its children have exited and its output is read; return its exit status."""
        return await asyncio.shield(self._ending)

    async def run_while_alive(self, work: Coroutine[Any, Any, T]) -> T:
        """Await work that needs the program. If the program exits first, cancel the work and raise ProcessExited.

        An EngineError just before the exit also becomes ProcessExited: the connection is lost before the exit is seen.
        """
        task = asyncio.ensure_future(work)
        try:
            await asyncio.wait({task, self._ending}, return_when=asyncio.FIRST_COMPLETED)
            if task.done() and isinstance(task.exception(), EngineError):
                await asyncio.wait({self._ending}, timeout=_EXIT_LAG)
            if self._ending.done() and not (task.done() and task.exception() is None):
                raise ProcessExited(self._ending.result())
            return task.result()
        finally:
            if not task.done():
                task.cancel()
                await asyncio.wait({task})

    async def stop(self) -> None:
        """Terminate it, kill it after the grace period, and wait until all its processes are gone."""
        if not self._ending.done():
            with suppress(ProcessLookupError):
                self._process.terminate()
            done, _ = await asyncio.wait({self._ending}, timeout=self._grace + _GUARD_GRACE)
            if not done:
                self._kill()
        await self.wait()

    async def _attend(self, reading: asyncio.Task[None]) -> int:
        status = await self._process.wait()
        for _ in range(_SWEEPS):  # needed only if the guard was killed
            if not self._kill():
                break
            await asyncio.sleep(_SWEEP)
        await asyncio.wait({reading}, timeout=1)
        reading.cancel()
        return status if status >= 0 else 128 - status

    def _kill(self) -> bool:
        """Kill what is left of the process group; return whether there was anything."""
        try:
            os.killpg(self._process.pid, signal.SIGKILL)
        except ProcessLookupError:
            return False
        return True


async def _read_output(pipe: int, output: LogTail) -> None:
    reader = asyncio.StreamReader()
    protocol = asyncio.StreamReaderProtocol(reader)
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(lambda: protocol, os.fdopen(pipe, "rb", 0))
    try:
        while data := await reader.read(_BUFFER):
            output.feed(data)
    finally:
        output.close()
        transport.close()


_LOG = logging.getLogger("secondlook.vllm")
_POLL_SECONDS = 0.25  # seconds between two health checks
_PROGRESS_SECONDS = 15.0  # seconds between two log lines about progress
_LOG_LINES = 8  # in an error message

_STARTING = "The model server is being started."
_RESTARTING = "The model server has died and is being started again: try again in a while."
_GIVEN_UP = "The model server keeps dying and is not started again; the log says why."
_STOPPED = "The model server was stopped."


class ServerSupervisor:
    """Keeps one model server running. It is ready after `warm`, which sends requests that are slow the first time.

    `problem` says why it is not ready, in words for clients; None while it is ready.
    """

    def __init__(
        self, program: VllmCommand, limits: SupervisorLimits, warm: Callable[[], Coroutine[Any, Any, None]]
    ) -> None:
        self.problem: str | None = _STARTING
        self.program = program
        self._limits = limits
        self._warm = warm
        self._name = f"the model server of {program.name}"
        self._output = LogTail(_LOG.info, program.key)
        self._child: GuardedProcess | None = None
        self._first: asyncio.Task[GuardedProcess] | None = None
        self._keeping: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Start it once and wait until it is ready. Raises EngineError with the end of its log."""
        self._first = self._first or asyncio.ensure_future(self._launch())
        child = await asyncio.shield(self._first)
        self._keeping = self._keeping or asyncio.ensure_future(self._keep(child))

    async def run_while_alive(self, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Await work that needs the server. Raises EngineError at once if it is not ready, or when it dies."""
        if self.problem is not None or self._child is None:
            raise EngineError(self.problem or _STARTING)
        try:
            return await self._child.run_while_alive(work())
        except ProcessExited:
            raise EngineError(_RESTARTING) from None

    async def stop(self) -> None:
        """Stop it and wait until all its processes are gone."""
        self.problem = _STOPPED
        tasks = {task for task in (self._first, self._keeping) if task is not None}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._child is not None:
            await self._child.stop()

    async def _keep(self, child: GuardedProcess) -> None:
        pace = RestartBackoff(self._limits)
        try:
            while True:
                status = await child.wait()
                self.problem = _RESTARTING
                _LOG.error("%s died: %s", self._name, self.program.explain(self._output.lines, status))
                child = await self._again(pace)
        except EngineError as error:
            _LOG.critical("%s is given up: %s", self._name, error)
        except Exception:
            _LOG.exception("%s is given up after an internal error", self._name)
        self.problem = _GIVEN_UP

    async def _again(self, pace: RestartBackoff) -> GuardedProcess:
        """Restart it as often as the limits allow. Raises EngineError after the last attempt."""
        while (pause := pace.pause(time.monotonic())) is not None:
            _LOG.warning("%s is restarted in %.1f s", self._name, pause)
            await asyncio.sleep(pause)
            try:
                return await self._launch()
            except EngineError as error:
                _LOG.error("%s", error.detail)
        limits = self._limits
        raise EngineError(f"{limits.restarts} restarts within {limits.window:g} s did not help")

    async def _launch(self) -> GuardedProcess:
        """Start it and wait until it is ready; stop it if that fails. Raises EngineError."""
        program = self.program
        self._output = LogTail(lambda line: _LOG.info("vllm: %s", line), program.key)
        _LOG.info("starting %s: %s", self._name, " ".join(program.command))
        try:
            child = await GuardedProcess.start(
                program.command, program.environment, self._output, grace=self._limits.grace
            )
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

    async def _until_ready(self, child: GuardedProcess) -> None:
        began = time.monotonic()
        try:
            async with asyncio.timeout(self._limits.startup):
                await child.run_while_alive(self._until_healthy(began))
                _LOG.info("%s is loaded after %.0f s and warms up", self._name, time.monotonic() - began)
                await child.run_while_alive(self._warm())
        except ProcessExited as end:
            why = self.program.explain(self._output.lines, end.status)
            raise EngineError(f"{self._name} did not start: {why}") from None
        except TimeoutError:
            last = "".join(f"\n  {line}" for line in [*self._output.lines][-_LOG_LINES:])
            late = f"{self._name} is not ready after {self._limits.startup:g} s, which ?startup= sets"
            raise EngineError(f"{late}:{last}" if last else late) from None
        _LOG.info("%s is ready after %.0f s", self._name, time.monotonic() - began)

    async def _until_healthy(self, began: float) -> None:
        logged = began
        async with httpx.AsyncClient(base_url=self.program.root, timeout=5.0, trust_env=False) as client:
            while not await _healthy(client):
                await asyncio.sleep(_POLL_SECONDS)
                now = time.monotonic()
                if now - logged >= _PROGRESS_SECONDS:
                    logged = now
                    _LOG.info("%s has been loading for %.0f s: %s", self._name, now - began, self._output.latest)


async def _healthy(client: httpx.AsyncClient) -> bool:
    try:
        return (await client.get("/health")).is_success
    except httpx.HTTPError:
        return False
