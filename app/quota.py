"""How much one key may take."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from agents.budget import Budget

GIB = 1024**3
_DAY = 24 * 3600.0


class Quota(BaseModel):
    """The most that one key may take. None: only what the service itself allows."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    requests_per_minute: int | None = Field(
        600, ge=1, description="Requests of any kind, in any 60 seconds, by each process of the service."
    )
    concurrent_runs: int | None = Field(None, ge=1, description="Runs that work at once; others wait.")
    frames_per_run: int | None = Field(None, ge=1, description="Frames shown to the model in one run.")
    tokens_per_run: int | None = Field(None, ge=1, description="Tokens read and written in one run.")
    tokens_per_day: int | None = Field(
        None, ge=1, description="Tokens read and written in a day, by UTC; runs of other processes count when they end."
    )
    storage_bytes: int | None = Field(100 * GIB, ge=0, description="Bytes of all files of the key's tenant.")
    file_seconds: float | None = Field(30 * _DAY, gt=0, description="How long a file is kept.")

    @property
    def run(self) -> Budget:
        """What one run may spend, by this quota alone."""
        return Budget(frames=self.frames_per_run, tokens=self.tokens_per_run)
