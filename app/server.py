"""The web server, which stops as a load balancer and its clients would wish."""

from __future__ import annotations

import gc
from math import ceil
from socket import socket
from time import monotonic
from types import FrameType
from typing import Any

import uvicorn
from fastapi import FastAPI

from app.service import Service

_FLUSH_SECONDS = 2
"""For the last bytes of responses that are finished."""


class Server(uvicorn.Server):
    """Goes on listening after a stop signal, so that it can say that it is no longer ready, until no run is at work.

    New runs are refused meanwhile. After `drain_seconds`, or at a second signal, the runs are interrupted; at a third
    nothing is waited for. The process then ends with exit code 0.
    """

    def __init__(self, app: FastAPI, **options: Any) -> None:
        self._service: Service = app.state.service
        self._settings = self._service.settings
        host, port = self._settings.host, self._settings.port
        super().__init__(uvicorn.Config(app, host=host, port=port, **options))
        self._signals = 0
        self._signalled_at = 0.0

    async def startup(self, sockets: list[socket] | None = None) -> None:
        """Begin to listen. What is in memory by now stays, and need not be searched for garbage again and again."""
        await super().startup(sockets)
        gc.collect()
        gc.freeze()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002 - uvicorn's signature
        """Hear a stop signal; it is acted upon between two others of the loop's steps."""
        self._signals += 1
        if self._signals > 2:
            self.should_exit = self.force_exit = True

    async def on_tick(self, counter: int) -> bool:
        """What uvicorn does ten times a second: True ends the server."""
        if self._signals and not self.should_exit:
            self.should_exit = await self._wind_down()
        return await super().on_tick(counter)

    async def _wind_down(self) -> bool:
        """Whether it is time to end; the first time, let no run in any more."""
        self._signalled_at = self._signalled_at or monotonic()
        gate, waited = self._service.queue, monotonic() - self._signalled_at
        gate.close()
        left = self._settings.drain_seconds - waited if self._signals == 1 else 0.0
        if left > 0 and (gate.running or waited < self._settings.notice_seconds):
            return False
        await self._service.runs.interrupt()
        self.config.timeout_graceful_shutdown = max(_FLUSH_SECONDS, ceil(left))
        return True
