"""What a client says about a file that it uploads: data, and nothing that a path is made of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator

Purpose = Literal["assistants", "batch", "fine-tune", "vision", "user_data", "evals"]
_LONGEST_NAME = 255


class Expiry(BaseModel):
    """When the client wants a file to go: so many seconds after it was created."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    anchor: Literal["created_at"]
    seconds: int = Field(ge=3600, le=2_592_000)


class Wish(BaseModel):
    """A file's name and purpose, and how long it is wanted."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    filename: str = "video"
    purpose: Purpose = "user_data"
    expires_after: Expiry | None = None

    @classmethod
    def of(cls, filename: str, fields: Mapping[str, str]) -> Self:
        """From the fields of a form, where `expires_after[seconds]` is a part of `expires_after`.

        Raises ValidationError.
        """
        said: dict[str, Any] = {"filename": filename} if filename else {}
        for name, value in fields.items():
            outer, bracket, inner = name.partition("[")
            if bracket:
                said.setdefault(outer, {})[inner.removesuffix("]")] = value
            else:
                said[outer] = value
        return cls.model_validate(said)

    @field_validator("filename")
    @classmethod
    def _plain(cls, name: str) -> str:
        """The last part of the name, printable, as long as a file system would allow."""
        last = name.replace("\\", "/").rpartition("/")[2]
        return "".join(sign for sign in last if sign.isprintable())[:_LONGEST_NAME] or "video"

    def expires_at(self, now: float, most: float | None) -> float | None:
        """When the file goes: when it is wanted no longer, or may be kept no longer; None: never."""
        spans = [span for span in (self.expires_after and self.expires_after.seconds, most) if span]
        return now + min(spans) if spans else None
