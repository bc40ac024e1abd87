"""What the API's description says of every route: how its errors look."""

from __future__ import annotations

from typing import Any

from app.cards import ErrorResponse

Responses = dict[int | str, dict[str, Any]]
FAILED: Responses = {"default": {"model": ErrorResponse, "description": "What went wrong."}}


def errors(*statuses: int) -> Responses:
    """The statuses that a route may answer with, all with an error object."""
    return {status: {"model": ErrorResponse} for status in statuses}
