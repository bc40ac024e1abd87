"""Presets: published systems that are one of our programs with other parameters, kept as data."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from agents.strategies import PROGRAMS, AnyStrategy
from agents.strategy import Strategy

_PRESETS = Path(__file__).with_name("presets.toml")


Fidelity = Literal["exact", "training-free part", "analogue"]


class BadStrategy(Exception):
    """The caller asked for a strategy or a parameter that does not exist. `param` names the field."""

    def __init__(self, message: str, param: str, code: str = "invalid_parameter") -> None:
        super().__init__(message)
        self.param = param
        self.code = code


class Preset(BaseModel):
    """One of our programs under a paper's name."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    program: str
    summary: str
    paper: Annotated[str, Field(pattern=r"^\d{4}\.\d{4,5}$")]
    fidelity: Fidelity
    parameters: dict[str, Any] = {}


class Catalogue:
    """All names that a request may use: programs and presets. Raises if a preset does not fit its program."""

    def __init__(self, presets: Mapping[str, Preset]) -> None:
        self.presets = dict(presets)
        self._adapter: TypeAdapter[Strategy] = TypeAdapter(AnyStrategy)
        for name in self.presets:
            if name in PROGRAMS:
                raise ValueError(f"preset {name!r} hides the program of that name")
            self.resolve(name)

    @classmethod
    def load(cls) -> Catalogue:
        """All programs, and the presets that are shipped."""
        return cls(_shipped())

    @property
    def names(self) -> tuple[str, ...]:
        """Programs first, then presets."""
        return (*PROGRAMS, *self.presets)

    def resolve(self, spec: str | Mapping[str, Any]) -> Strategy:
        """A strategy from its name, or from its name and parameters. Raises BadStrategy naming the parameter."""
        given = {"name": spec} if isinstance(spec, str) else dict(spec)
        name = str(given.get("name"))
        if preset := self.presets.get(name):
            given = {**preset.parameters, **given, "name": preset.program}
        elif name not in PROGRAMS:
            known = ", ".join(self.names)
            raise BadStrategy(f"There is no strategy {name!r}. There are: {known}.", "strategy", "unknown_strategy")
        try:
            return self._adapter.validate_python(given)
        except ValidationError as error:
            raise _explain(name, error) from None


@cache
def _shipped() -> Mapping[str, Preset]:
    tables = tomllib.loads(_PRESETS.read_text("utf-8"))
    return {name: Preset.model_validate(table) for name, table in tables.items()}


def _explain(name: str, error: ValidationError) -> BadStrategy:
    first = error.errors(include_url=False)[0]
    path = [str(part) for part in first["loc"] if part not in PROGRAMS]
    field = ".".join(path) or "strategy"
    if first["type"] == "extra_forbidden":
        program = [str(part) for part in first["loc"] if part in PROGRAMS][-1]
        known = ", ".join(key for key in PROGRAMS[program].model_fields if key != "name")
        return BadStrategy(f"{program} has no parameter {path[-1]!r}. It has: {known}.", field, "unknown_parameter")
    return BadStrategy(f"{name}: {field}: {first['msg']}", field)
