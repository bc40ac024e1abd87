"""A program that runs as long as we want it, and not longer than we live."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Coroutine, Mapping, Sequence
from contextlib import suppress
from typing import Any, TypeVar

from agents.engine import EngineError
from agents.engines.serving import guard
from agents.engines.serving.output import Output

T = TypeVar("T")

_OURS = "SECONDLOOK_"  # settings of the service, keys among them: none of its business
_BUFFER = 65536  # bytes
_FELT = 2.0  # seconds by which a lost connection may be noticed before the end of the program
_LONGER = 10.0  # seconds beyond the grace, for the guard to sweep up
_SWEEPS = 100  # times that we look, where it cannot
_SWEEP = 0.05  # seconds between them


class Ended(Exception):
    """The program ended, with this status: above 128 by a signal."""

    def __init__(self, status: int) -> None:
        super().__init__(f"ended with status {status}")
        self.status = status


class Child:
    """A program under guard, in a process group of its own. Its environment is ours, less our settings."""

    def __init__(self, process: asyncio.subprocess.Process, reading: asyncio.Task[None], grace: float) -> None:
        self._process = process
        self._grace = grace
        self._ending = asyncio.ensure_future(self._attend(reading))

    @classmethod
    async def start(
        cls, command: Sequence[str], environment: Mapping[str, str], output: Output, *, grace: float
    ) -> Child:
        """Start the program; it has `grace` seconds to end when it is asked to. Raises OSError."""
        ours, theirs = os.pipe()
        try:
            reading = asyncio.ensure_future(_read(ours, output))
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-I", "-S", guard.__file__, str(os.getpid()), str(grace), *command),
                env={**{key: value for key, value in os.environ.items() if not key.startswith(_OURS)}, **environment},
                stdin=asyncio.subprocess.DEVNULL,
                stdout=theirs,
                stderr=theirs,
                start_new_session=True,
            )
        finally:
            os.close(theirs)
        return cls(process, reading, grace)

    async def ended(self) -> int:
        """Wait until it has ended, and all that it started, and its last words are read: its exit status."""
        return await asyncio.shield(self._ending)

    async def during(self, work: Coroutine[Any, Any, T]) -> T:
        """The result of something that needs the program. If that ends before, the work is cancelled: Ended.

        So it is if the program ends just after an EngineError: that it is gone is felt before it is known.
        """
        task = asyncio.ensure_future(work)
        try:
            await asyncio.wait({task, self._ending}, return_when=asyncio.FIRST_COMPLETED)
            if task.done() and isinstance(task.exception(), EngineError):
                await asyncio.wait({self._ending}, timeout=_FELT)
            if self._ending.done() and not (task.done() and task.exception() is None):
                raise Ended(self._ending.result())
            return task.result()
        finally:
            if not task.done():
                task.cancel()
                await asyncio.wait({task})

    async def stop(self) -> None:
        """Ask it to end, make it if it does not, and wait until nothing of it is left."""
        if not self._ending.done():
            with suppress(ProcessLookupError):
                self._process.terminate()
            done, _ = await asyncio.wait({self._ending}, timeout=self._grace + _LONGER)
            if not done:
                self._kill()
        await self.ended()

    async def _attend(self, reading: asyncio.Task[None]) -> int:
        status = await self._process.wait()
        for _ in range(_SWEEPS):  # the guard leaves nothing, unless it was killed itself
            if not self._kill():
                break
            await asyncio.sleep(_SWEEP)
        await asyncio.wait({reading}, timeout=1)
        reading.cancel()
        return status if status >= 0 else 128 - status

    def _kill(self) -> bool:
        """Kill what is left of the process group, and say whether anything was."""
        try:
            os.killpg(self._process.pid, signal.SIGKILL)
        except ProcessLookupError:
            return False
        return True


async def _read(pipe: int, output: Output) -> None:
    reader = asyncio.StreamReader()
    protocol = asyncio.StreamReaderProtocol(reader)
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(lambda: protocol, os.fdopen(pipe, "rb", 0))
    try:
        while data := await reader.read(_BUFFER):
            output.feed(data)
    finally:
        output.close()
        transport.close()
