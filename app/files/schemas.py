"""Schemas of /v1/files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator

from app.answers.schemas import Rounded
from app.db.tables import FileRecord
from tools.video.probe import VideoMetadata

Purpose = Literal["assistants", "batch", "fine-tune", "vision", "user_data", "evals"]
_LONGEST_NAME = 255


class ExpiresAfter(BaseModel):
    """When a file expires: so many seconds after it was created."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    anchor: Literal["created_at"]
    seconds: int = Field(ge=3600, le=2_592_000)


class UploadOptions(BaseModel):
    """A file's name, purpose and expiry."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    filename: str = "video"
    purpose: Purpose = "user_data"
    expires_after: ExpiresAfter | None = None

    @classmethod
    def of(cls, filename: str, fields: Mapping[str, str]) -> Self:
        """From the fields of a form, where `expires_after[seconds]` is a part of `expires_after`.

        Raises ValidationError.
        """
        values: dict[str, Any] = {"filename": filename} if filename else {}
        for name, value in fields.items():
            outer, bracket, inner = name.partition("[")
            if bracket:
                values.setdefault(outer, {})[inner.removesuffix("]")] = value
            else:
                values[outer] = value
        return cls.model_validate(values)

    @field_validator("filename")
    @classmethod
    def _plain(cls, name: str) -> str:
        """The last part of the name, printable characters only, cut to what file systems allow."""
        last = name.replace("\\", "/").rpartition("/")[2]
        return "".join(sign for sign in last if sign.isprintable())[:_LONGEST_NAME] or "video"

    def expires_at(self, now: float, most: float | None) -> float | None:
        """Unix time at which the file expires: the earlier of the client's limit and `most` seconds; None: never."""
        spans = [span for span in (self.expires_after and self.expires_after.seconds, most) if span]
        return now + min(spans) if spans else None


class VideoInfo(BaseModel):
    """Facts about a video: sizes in pixels (upright), duration in seconds, rates in frames per second."""

    container: str
    codec: str
    width: int
    height: int
    rotation: int
    duration: Rounded
    frame_count: int | None
    average_fps: Rounded
    real_fps: Rounded
    audio_streams: int
    subtitle_streams: int

    @classmethod
    def of(cls, info: VideoMetadata) -> Self:
        """The facts without what the file object says already."""
        facts = asdict(info)
        return cls.model_validate({name: facts[name] for name in cls.model_fields})


class DeletedFile(BaseModel):
    """A deleted file."""

    id: str
    object: Literal["file"] = "file"
    deleted: Literal[True] = True


class FileObject(BaseModel):
    """An uploaded file."""

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
        """The API object of a record."""
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
        """A page with the ids of its first and last file."""
        first, last = (files[0].id, files[-1].id) if files else (None, None)
        return cls(data=files, first_id=first, last_id=last, has_more=has_more)
