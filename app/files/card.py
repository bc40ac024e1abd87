"""A file on the wire, in OpenAI's form, with what is known of the film."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import BaseModel, Field

from app.cards import VideoInfo
from app.records import FileRecord


class FileObject(BaseModel):
    """A file that a client has uploaded."""

    id: str
    object: Literal["file"] = "file"
    bytes: int
    created_at: int = Field(description="Seconds since 1970.")
    expires_at: int | None = Field(description="When it will be deleted; null: never.")
    filename: str = Field(description="What the client called it.")
    purpose: str
    status: Literal["processed"] = "processed"
    status_details: None = None
    video: VideoInfo

    @classmethod
    def of(cls, record: FileRecord) -> Self:
        """What its tenant may know of it."""
        return cls(
            id=record.id,
            bytes=record.bytes,
            created_at=int(record.created_at),
            expires_at=None if record.expires_at is None else int(record.expires_at),
            filename=record.filename,
            purpose=record.purpose,
            video=VideoInfo.model_validate(record.video),
        )


class FileList(BaseModel):
    """A page of files; the next one is `after` its `last_id`."""

    object: Literal["list"] = "list"
    data: list[FileObject]
    first_id: str | None
    last_id: str | None
    has_more: bool

    @classmethod
    def of(cls, files: list[FileObject], has_more: bool) -> Self:
        """A page with its ends."""
        first, last = (files[0].id, files[-1].id) if files else (None, None)
        return cls(data=files, first_id=first, last_id=last, has_more=has_more)
