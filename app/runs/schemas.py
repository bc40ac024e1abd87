"""Schemas of /v1/runs."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, Field

from app.errors import ErrorBody

RunStatus = Literal["queued", "running", "completed", "failed", "cancelled", "interrupted"]
FINAL_STATUSES = frozenset({"completed", "failed", "cancelled", "interrupted"})


class RunSummary(BaseModel):
    """One run: what it is and how far it has come. Moments are seconds since 1970."""

    id: str
    object: Literal["run"] = "run"
    status: RunStatus = Field(
        description="interrupted: the service stopped before the run was over; it can be resumed.",
    )
    endpoint: str
    model: str
    background: bool
    attempts: int = Field(description="How often it was begun.")
    tokens: int = Field(description="Read and written by its last attempt.")
    resumable: bool = Field(description="Whether its request is still kept, and it may be begun again.")
    created_at: int
    started_at: int | None
    finished_at: int | None


class RunEventObject(BaseModel):
    """Something that happened in a run."""

    seq: int
    choice: int = Field(description="The answer that it belongs to, if several were asked for.")
    event: dict[str, Any]


class RunObject(RunSummary):
    """A run with all that is known of it."""

    request: dict[str, Any] = Field(description="What was asked, without the content of media.")
    response: dict[str, Any] | None
    error: ErrorBody | None
    events: list[RunEventObject]


class RunList(BaseModel):
    """A page of runs. The next one begins after `last_id`."""

    object: Literal["list"] = "list"
    data: list[RunSummary]
    first_id: str | None
    last_id: str | None
    has_more: bool
