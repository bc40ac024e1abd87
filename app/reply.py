"""What the API's description says of every route: how its errors look."""

from __future__ import annotations

from typing import Any

from app.cards import ErrorResponse

Responses = dict[int | str, dict[str, Any]]
EVENTS: dict[str, Any] = {
    "text/event-stream": {
        "schema": {
            "type": "object",
            "required": ["data"],
            "properties": {name: {"type": "string"} for name in ("data", "event", "id")},
        }
    }
}
"""Content of streams; the schema is that of one event, whose data is JSON."""
FAILED: Responses = {"default": {"model": ErrorResponse, "description": "What went wrong."}}


def errors(*statuses: int) -> Responses:
    """The statuses that a route may answer with, all with an error object."""
    return {status: {"model": ErrorResponse} for status in statuses}
