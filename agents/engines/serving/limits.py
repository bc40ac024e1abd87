"""How patient we are with a model server."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class Limits(BaseModel):
    """How long it may take, and how often it may fail."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    startup: float = Field(1800.0, gt=0, description="Seconds until it must be ready, fetching weights included.")
    grace: float = Field(10.0, ge=0, description="Seconds until it is killed when it has been asked to stop.")
    restarts: int = Field(5, ge=0, description="Restarts within a window; after one death more it is given up.")
    window: float = Field(900.0, gt=0, description="Seconds that a restart counts.")
    pause: float = Field(1.0, ge=0, description="Seconds before a restart, doubled for each other one that counts.")
    longest_pause: float = Field(60.0, ge=0, description="The most seconds before a restart.")


class Pace:
    """When to start again what keeps ending."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._restarts: list[float] = []

    def pause(self, now: float) -> float | None:
        """Seconds to wait before the next restart, which is counted; None if there have been too many."""
        limits = self._limits
        self._restarts = [each for each in self._restarts if each > now - limits.window]
        recent = len(self._restarts)
        if recent >= limits.restarts:
            return None
        self._restarts.append(now)
        return float(min(limits.pause * 2**recent, limits.longest_pause))
