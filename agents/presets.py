"""Presets: published systems as strategies with other parameters, kept as data, and their documentation tables."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
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
    """One of our programs under a paper's name."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    program: str
    summary: str
    paper: Annotated[str, Field(pattern=r"^\d{4}\.\d{4,5}$")]
    fidelity: Fidelity
    parameters: dict[str, Any] = {}


class Catalogue:
    """All names that a request may use: programs and presets. Raises if a preset does not fit its program."""

    def __init__(self, presets: Mapping[str, StrategyPreset]) -> None:
        self.presets = dict(presets)
        self._adapter: TypeAdapter[Strategy] = TypeAdapter(AnyStrategy)
        for name in self.presets:
            if name in STRATEGIES:
                raise ValueError(f"preset {name!r} hides the program of that name")
            self.resolve(name)

    @classmethod
    def load(cls) -> Catalogue:
        """All programs, and the presets that are shipped."""
        return cls(_load_presets())

    @property
    def names(self) -> tuple[str, ...]:
        """Programs first, then presets."""
        return (*STRATEGIES, *self.presets)

    def resolve(self, spec: str | Mapping[str, Any]) -> Strategy:
        """A strategy from its name, or from its name and parameters. Raises BadStrategy naming the parameter."""
        given = {"name": spec} if isinstance(spec, str) else dict(spec)
        name = str(given.get("name"))
        if preset := self.presets.get(name):
            given = {**preset.parameters, **given, "name": preset.program}
        elif name not in STRATEGIES:
            known = ", ".join(self.names)
            raise BadStrategy(f"There is no strategy {name!r}. There are: {known}.", "strategy", "unknown_strategy")
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
        program = [str(part) for part in first["loc"] if part in STRATEGIES][-1]
        known = ", ".join(key for key in STRATEGIES[program].model_fields if key != "name")
        return BadStrategy(f"{program} has no parameter {path[-1]!r}. It has: {known}.", field, "unknown_parameter")
    return BadStrategy(f"{name}: {field}: {first['msg']}", field)


_FIDELITIES: tuple[Fidelity, ...] = ("exact", "without its training", "approximation")


def strategy_tables(catalogue: Catalogue) -> str:
    """Two tables for README: the programs with their parameters, and the presets by program and fidelity."""
    programs = [
        f"| `{name}` | {strategy_summary(name)} | {_parameter_list(name)} | {_links(STRATEGIES[name].papers())} |"
        for name in STRATEGIES
    ]
    used = dict.fromkeys(preset.program for preset in catalogue.presets.values())
    presets = [
        f"| `{program}` | {' | '.join(_preset_links(catalogue, program, fidelity) for fidelity in _FIDELITIES)} |"
        for program in used
    ]
    return "\n".join(
        [
            "| program | what it does | parameters and their defaults | papers |",
            "|---|---|---|---|",
            *programs,
            "",
            "| presets of | exact | without its training | approximation |",
            "|---|---|---|---|",
            *presets,
        ]
    )


def _preset_links(catalogue: Catalogue, program: str, fidelity: Fidelity) -> str:
    """The presets of a program that are as near to their papers, each with its paper."""
    these = ((name, p) for name, p in catalogue.presets.items() if p.program == program and p.fidelity == fidelity)
    return ", ".join(f"[`{name}`](https://arxiv.org/abs/{preset.paper})" for name, preset in these)


def strategy_summary(name: str) -> str:
    """First paragraph of a program's documentation: the idea in one sentence."""
    return " ".join(STRATEGIES[name].documentation().split("\n\n")[0].split())


def _parameter_list(name: str) -> str:
    fields = STRATEGIES[name].model_fields
    shown = [f"{key}={field.default}" for key, field in fields.items() if isinstance(field.default, str | int | float)]
    return ", ".join(f"`{each}`" for each in shown if not each.startswith("name="))


def _links(papers: tuple[str, ...]) -> str:
    return ", ".join(f"[{paper}](https://arxiv.org/abs/{paper})" for paper in papers)
