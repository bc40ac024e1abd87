"""The models that a server lists."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError


class Card(BaseModel):
    """One model. `root` is where vLLM took its weights from, `context` the most tokens that it reads and writes."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    id: str
    owned_by: str | None = None
    root: str | None = None
    context: int | None = Field(default=None, validation_alias="max_model_len")


class _List(BaseModel):
    data: list[Card] = []


def cards(data: Any) -> list[Card]:
    """What `/models` answered; empty if it is no list of models."""
    try:
        return _List.model_validate(data).data
    except ValidationError:
        return []
