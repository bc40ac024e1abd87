"""Presets: published systems as strategies with other parameters, kept as data, and their documentation tables."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from agents.strategies import STRATEGIES, AnyStrategy
from agents.strategies.base import Strategy

_PRESETS = Path(__file__).with_name("presets.toml")


Fidelity = Literal["exact", "without its training", "approximation"]


class BadStrategy(Exception):
    """The caller asked for a strategy or a parameter that does not exist. `param` names the field."""

    def __init__(self, message: str, param: str, code: str = "invalid_parameter") -> None:
        super().__init__(message)
        self.param = param
        self.code = code


class StrategyPreset(BaseModel):
    """One of our strategies under a paper's name."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    strategy: str
    summary: str
    paper: Annotated[str, Field(pattern=r"^\d{4}\.\d{4,5}$")]
    fidelity: Fidelity
    parameters: dict[str, Any] = {}


class Catalogue:
    """All names that a request may use: strategies and presets. Raises if a preset does not fit its strategy."""

    def __init__(self, presets: Mapping[str, StrategyPreset]) -> None:
        self.presets = dict(presets)
        self._adapter: TypeAdapter[Strategy] = TypeAdapter(AnyStrategy)
        for name in self.presets:
            if name in STRATEGIES:
                raise ValueError(f"preset {name!r} hides the strategy of that name")
            self.resolve(name)

    @classmethod
    def load(cls) -> Catalogue:
        """All strategies, and the presets that are shipped."""
        return cls(_load_presets())

    @property
    def names(self) -> tuple[str, ...]:
        """Strategies first, then presets."""
        return (*STRATEGIES, *self.presets)

    def resolve(self, spec: str | Mapping[str, Any]) -> Strategy:
        """A strategy from its name, or from its name and parameters. Raises BadStrategy naming the parameter."""
        given = {"name": spec} if isinstance(spec, str) else dict(spec)
        name = str(given.get("name"))
        if preset := self.presets.get(name):
            given = {**preset.parameters, **given, "name": preset.strategy}
        elif name not in STRATEGIES:
            near = get_close_matches(name, self.names)
            hint = f"Did you mean {' or '.join(near)}? " if near else ""
            known = ", ".join(self.names)
            raise BadStrategy(
                f"There is no strategy {name!r}. {hint}There are: {known}.", "strategy", "unknown_strategy"
            )
        try:
            return self._adapter.validate_python(given)
        except ValidationError as error:
            raise _explain(name, error) from None


@cache
def _load_presets() -> Mapping[str, StrategyPreset]:
    tables = tomllib.loads(_PRESETS.read_text("utf-8"))
    return {name: StrategyPreset.model_validate(table) for name, table in tables.items()}


def _explain(name: str, error: ValidationError) -> BadStrategy:
    first = error.errors(include_url=False)[0]
    path = [str(part) for part in first["loc"] if part not in STRATEGIES]
    field = ".".join(path) or "strategy"
    if first["type"] == "extra_forbidden":
        strategy = [str(part) for part in first["loc"] if part in STRATEGIES][-1]
        known = ", ".join(key for key in STRATEGIES[strategy].model_fields if key != "name")
        return BadStrategy(f"{strategy} has no parameter {path[-1]!r}. It has: {known}.", field, "unknown_parameter")
    return BadStrategy(f"{name}: {field}: {first['msg']}", field)


def strategy_summary(name: str) -> str:
    """First paragraph of a strategy's documentation: the idea in one sentence."""
    return " ".join(STRATEGIES[name].documentation().split("\n\n")[0].split())
