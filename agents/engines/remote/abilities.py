"""What is known about a model behind a server."""

from __future__ import annotations

from dataclasses import dataclass

from agents.engine import Offer
from agents.engines.remote.models import Card
from agents.engines.remote.options import Dialect
from agents.engines.remote.tariff import Tariff
from agents.profiles import Packing, Profile


@dataclass(frozen=True, slots=True)
class Abilities:
    """A model, how it is spoken to, what it offers and what it costs.

    `card` is what the server said about it. `trusting` servers take arguments for their processor with a request.
    `context` is in tokens.
    """

    card: Card
    dialect: Dialect
    profile: Profile
    tariff: Tariff
    offers: frozenset[Offer] = frozenset()
    packing: Packing = "images"
    trusting: bool = False
    context: int | None = None
    most_pictures: int | None = None
    counts: bool = False
