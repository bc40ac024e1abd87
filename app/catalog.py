"""The catalogue of strategies and presets, as the API and the command line list it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

from pydantic import BaseModel, Field

from agents.engines.base import Capability
from agents.presets import Catalogue, StrategyPreset, strategy_summary
from agents.strategies import STRATEGIES
from agents.strategies.base import Strategy


class StrategyCard(BaseModel):
    """A name that requests may use, and all there is to know about it."""

    name: str
    strategy: str = Field(description="The strategy behind it; its own name unless it is a preset.")
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


def strategy_cards(catalogue: Catalogue, offers: Iterable[Capability] | None = None) -> list[StrategyCard]:
    """One card for each name. Without an engine's offers, whether it fits is unknown."""
    offered = None if offers is None else frozenset(offers)
    return [_card(catalogue, name, offered) for name in catalogue.names]


def _card(catalogue: Catalogue, name: str, offers: frozenset[Capability] | None) -> StrategyCard:
    strategy = catalogue.resolve(name)
    kind = STRATEGIES[strategy.name]
    preset = catalogue.presets.get(name)
    needs = strategy.required_capabilities()
    return StrategyCard(
        name=name,
        strategy=strategy.name,
        summary=preset.summary if preset else strategy_summary(name),
        description=kind.documentation(),
        papers=_papers(kind, preset),
        fidelity=preset.fidelity if preset else None,
        needs=sorted(needs),
        fits=None if offers is None else needs <= offers,
        parameters=_parameters(name, strategy, preset),
    )


def _papers(kind: type[Strategy], preset: StrategyPreset | None) -> list[str]:
    return [preset.paper] if preset else list(dict.fromkeys(kind.papers()))


def _parameters(name: str, strategy: Strategy, preset: StrategyPreset | None) -> dict[str, Any]:
    """The JSON schema of the strategy, with the preset's name and values as the defaults."""
    schema = type(strategy).model_json_schema()
    if preset is None:
        return schema
    found = schema if "properties" in schema else schema["$defs"][type(strategy).__name__]
    chosen = {**strategy.model_dump(mode="json"), "name": name}
    for field, shape in found["properties"].items():
        shape["default"] = chosen[field]
    found["properties"]["name"] = {"const": name, "default": name, "type": "string"}
    return schema
