"""The wire of what can be listed: files, strategies, models; of health and errors. Types only."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, Literal, Self

from pydantic import BaseModel, Field

from app.schemas import Rounded
from tools.film import Info


class VideoInfo(BaseModel):
    """Facts about a film: sizes in pixels (upright), duration in seconds, rates in frames per second."""

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
    def of(cls, info: Info) -> Self:
        """The facts without what the file object says already."""
        facts = asdict(info)
        return cls.model_validate({name: facts[name] for name in cls.model_fields})


class Deleted(BaseModel):
    """A video that is no longer kept."""

    id: str
    object: Literal["file"] = "file"
    deleted: Literal[True] = True


class StrategyCard(BaseModel):
    """A name that requests may use, and all there is to know about it."""

    name: str
    program: str = Field(description="The program behind it; its own name unless it is a preset.")
    summary: str
    description: str
    papers: list[str] = Field(description="arXiv numbers.")
    fidelity: str | None = Field(description="For presets: how close to the paper.")
    needs: list[str] = Field(description="What the engine must offer.")
    fits: bool | None = Field(description="Whether the engine that is loaded offers that; null if unknown.")
    parameters: dict[str, Any] = Field(description="JSON schema of its parameters, with its defaults.")


class StrategyList(BaseModel):
    """All names that requests may use."""

    object: Literal["list"] = "list"
    data: list[StrategyCard]


class ModelCard(BaseModel):
    """A name under which the model answers."""

    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: str = "secondlook"
    offers: list[str]
    strategy: str | None = Field(None, description="The strategy that this name chooses; null if the default.")


class ModelList(BaseModel):
    """All names of the model."""

    object: Literal["list"] = "list"
    data: list[ModelCard]


class Health(BaseModel):
    """That the process lives, or that it is ready."""

    status: Literal["ok", "ready"]
    model: str | None = None


class ErrorBody(BaseModel):
    """What went wrong, and which field is at fault."""

    message: str
    type: str
    param: str | None
    code: str | None


class ErrorResponse(BaseModel):
    """The form of every error."""

    error: ErrorBody
