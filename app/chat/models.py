"""Names of models: the one that is loaded, and it again for every strategy, for clients that choose by name alone."""

from __future__ import annotations

from collections.abc import Sequence

from agents.engine import Engine
from agents.presets import Catalogue
from app.cards import ModelCard
from app.errors import Missing


class Models:
    """`model` and `model:strategy` for every strategy that the engine can run."""

    def __init__(self, engine: Engine, catalogue: Catalogue, created: int) -> None:
        self._engine = engine
        self._created = created
        offers = engine.offers
        self._strategies = [name for name in catalogue.names if catalogue.resolve(name).requires() <= offers]

    @property
    def cards(self) -> Sequence[ModelCard]:
        """All names."""
        return [self._card(None), *map(self._card, self._strategies)]

    def card(self, name: str) -> ModelCard:
        """One name. Raises Missing."""
        return self._card(self.strategy(name))

    def strategy(self, name: str) -> str | None:
        """The strategy that a model's name chooses, if any. Raises Missing."""
        if name == self._engine.model:
            return None
        model, colon, strategy = name.rpartition(":")
        if not colon or model != self._engine.model or strategy not in self._strategies:
            known = f"{self._engine.model}, alone or with a strategy of this service after a colon"
            raise Missing(f"There is no model {name!r}. There is {known}.", param="model", code="model_not_found")
        return strategy

    def _card(self, strategy: str | None) -> ModelCard:
        name = self._engine.model if strategy is None else f"{self._engine.model}:{strategy}"
        return ModelCard(id=name, created=self._created, offers=sorted(self._engine.offers), strategy=strategy)
