"""How a request names a strategy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict

from agents.strategies import AnyStrategy


class Preset(BaseModel):
    """A preset by its name, with parameters of the program behind it."""

    model_config = ConfigDict(extra="allow")

    name: str


def _named(value: Any) -> Any:
    spec = {"name": value} if isinstance(value, str) else value
    if not isinstance(spec, Mapping) or not isinstance(spec.get("name"), str):
        raise ValueError("give a name, or an object with a name and parameters")
    return spec


StrategySpec = Annotated[dict[str, Any], BeforeValidator(_named, json_schema_input_type=str | AnyStrategy | Preset)]
"""A name, or an object with a name and parameters. The catalogue does the validation, since it knows the presets too;
here the programs are only documented."""
