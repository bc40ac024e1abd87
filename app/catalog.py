"""The catalogue as cards: what a newcomer reads to choose a strategy."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from agents.engine import Offer
from agents.manual import summary
from agents.presets import Catalogue, Preset
from agents.strategies import PROGRAMS
from agents.strategy import Strategy
from app.cards import StrategyCard


def cards(catalogue: Catalogue, offers: Iterable[Offer] | None = None) -> list[StrategyCard]:
    """One card for each name. Without an engine's offers, whether it fits is unknown."""
    offered = None if offers is None else frozenset(offers)
    return [_card(catalogue, name, offered) for name in catalogue.names]


def _card(catalogue: Catalogue, name: str, offers: frozenset[Offer] | None) -> StrategyCard:
    strategy = catalogue.resolve(name)
    program = PROGRAMS[strategy.name]
    preset = catalogue.presets.get(name)
    needs = strategy.requires()
    return StrategyCard(
        name=name,
        program=strategy.name,
        summary=preset.summary if preset else summary(name),
        description=program.manual(),
        papers=_papers(program, preset),
        fidelity=preset.fidelity if preset else None,
        needs=sorted(needs),
        fits=None if offers is None else needs <= offers,
        parameters=_parameters(name, strategy, preset),
    )


def _papers(program: type[Strategy], preset: Preset | None) -> list[str]:
    return [preset.paper] if preset else list(dict.fromkeys(program.papers()))


def _parameters(name: str, strategy: Strategy, preset: Preset | None) -> dict[str, Any]:
    """The JSON schema of the program, with the preset's name and values as the defaults."""
    schema = type(strategy).model_json_schema()
    if preset is None:
        return schema
    found = schema if "properties" in schema else schema["$defs"][type(strategy).__name__]
    chosen = {**strategy.model_dump(mode="json"), "name": name}
    for field, shape in found["properties"].items():
        shape["default"] = chosen[field]
    found["properties"]["name"] = {"const": name, "default": name, "type": "string"}
    return schema
