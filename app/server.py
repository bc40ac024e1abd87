"""The web server, with a graceful shutdown for load balancers."""

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
"""Seconds for the last bytes of finished responses."""


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
        """Start listening. What is in memory by now lives as long as the process: do not search it for garbage."""
        await super().startup(sockets)
        gc.collect()
        gc.freeze()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002 - uvicorn's signature
        """Count a stop signal; `on_tick` acts on it."""
        self._signals += 1
        if self._signals > 2:
            self.should_exit = self.force_exit = True

    async def on_tick(self, counter: int) -> bool:
        """Called by uvicorn ten times a second; True ends the server."""
        if self._signals and not self.should_exit:
            self.should_exit = await self._wind_down()
        return await super().on_tick(counter)

    async def _wind_down(self) -> bool:
        """Whether it is time to stop. Closes the queue."""
        self._signalled_at = self._signalled_at or monotonic()
        queue, waited = self._service.queue, monotonic() - self._signalled_at
        queue.close()
        left = self._settings.drain_seconds - waited if self._signals == 1 else 0.0
        if left > 0 and (queue.running or waited < self._settings.notice_seconds):
            return False
        await self._service.runs.interrupt()
        self.config.timeout_graceful_shutdown = max(_FLUSH_SECONDS, ceil(left))
        return True
