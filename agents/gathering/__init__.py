"""Ways to gather evidence, and to tell whether there is enough of it."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from agents.gathering.observe import Observe
from agents.gathering.pick import Pick
from agents.gathering.recaption import Recaption

AnyGatherer = Annotated[Observe | Pick | Recaption, Field(discriminator="by")]

__all__ = ["AnyGatherer", "Observe", "Pick", "Recaption"]
