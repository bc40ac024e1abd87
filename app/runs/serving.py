"""A request that waits for its run."""

from __future__ import annotations

import asyncio
from typing import Any

from fastapi import Request

from app.presence import unless_gone
from app.runs.live import LiveRun
from app.runs.runs import Runs
from app.runs.ticket import Ticket

RUN_ID = {"x-run-id": {"description": "Id of the run, for /v1/runs/{id}.", "schema": {"type": "string"}}}
"""What the API's description says of a header that every answer has."""


async def answer(runs: Runs, live: LiveRun, ticket: Ticket, request: Request) -> dict[str, Any]:
    """The response of a run as it goes over the wire. Raises what the run raises, and Gone if the client leaves."""
    with runs.awaited(live, ticket):
        await asyncio.sleep(0)  # the run goes first, so that its model works while we prepare to wait
        await unless_gone(request.receive, live.ending())
    return live.outcome()
