"""Who sends a request: tenant, API key, scopes and quota."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, get_args

from pydantic import BaseModel, ConfigDict, Field

from agents.core.budget import Budget, TokenPool
from app.errors import Forbidden

GIB = 1024**3
_DAY = 24 * 3600.0


class Quota(BaseModel):
    """Limits of one key. None: only the limits of the service apply."""

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
        """The largest budget of one run under this quota."""
        return Budget(frames=self.frames_per_run, tokens=self.tokens_per_run)


KeyScope = Literal["answer", "files", "read", "metrics"]
"""answer: spend compute (ask, start and cancel runs). files: upload and delete files. read: look at files, their
content and runs. metrics: look at the service's own numbers. No scope contains another."""
ALL_SCOPES: frozenset[KeyScope] = frozenset(get_args(KeyScope))


@dataclass(frozen=True, slots=True)
class Caller:
    """The sender of a request. `key` is the key's id, not its secret. Everything stored belongs to `tenant`.

    `purse` has the tokens that all runs of the key may still spend today, once one of them is admitted.
    """

    tenant: str
    key: str
    scopes: frozenset[KeyScope] = ALL_SCOPES
    quota: Quota = field(default_factory=Quota)
    token_pool: TokenPool | None = field(default=None, compare=False)

    def require(self, scope: KeyScope) -> None:
        """Raise Forbidden unless the key has this scope."""
        if scope not in self.scopes:
            raise Forbidden(f"This key may not do that: it lacks the scope {scope!r}.", code="missing_scope")


LOCAL = Caller(tenant="local", key="local", quota=Quota(requests_per_minute=None))
"""The caller of a service on loopback without keys. It has no rate limit: there are no others to protect."""
