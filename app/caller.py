"""Who asks: the tenant whose things are seen, what the key may do, and how much of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal, get_args

from fastapi import Request, Security
from fastapi.security import HTTPBearer, SecurityScopes
from pydantic import BaseModel, ConfigDict, Field

from agents.budget import Budget
from app.errors import Forbidden

Scope = Literal["answer", "files", "read", "metrics"]
"""answer: spend compute (ask, start and cancel runs). files: upload and delete files. read: look at files, their
content and runs. metrics: look at the service's own numbers. No scope contains another."""
SCOPES: frozenset[Scope] = frozenset(get_args(Scope))


class Quota(BaseModel):
    """The most that one key may take. None: only what the service itself allows."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    requests_per_minute: int | None = Field(None, ge=1, description="Requests a minute, of any kind.")
    concurrent_runs: int | None = Field(None, ge=1, description="Runs that work at once; others wait.")
    frames_per_run: int | None = Field(None, ge=1, description="Frames shown to the model in one run.")
    tokens_per_run: int | None = Field(None, ge=1, description="Tokens read and written in one run.")
    tokens_per_day: int | None = Field(None, ge=1, description="Tokens read and written in a day, by UTC.")
    storage_bytes: int | None = Field(None, ge=0, description="Files of the key's tenant, together.")
    file_seconds: float | None = Field(None, gt=0, description="How long a file is kept.")

    @property
    def run(self) -> Budget:
        """What one run may spend, by this quota alone."""
        return Budget(frames=self.frames_per_run, tokens=self.tokens_per_run)


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks. `key` is the key's id, not its secret. Whatever is stored belongs to `tenant`."""

    tenant: str
    key: str
    scopes: frozenset[Scope] = SCOPES
    quota: Quota = Quota()  # noqa: RUF009 - frozen

    def must(self, scope: Scope) -> None:
        """Raise Forbidden unless the key has this scope."""
        if scope not in self.scopes:
            raise Forbidden(f"This key may not do that: it lacks the scope {scope!r}.", code="missing_scope")


LOCAL = Caller(tenant="local", key="local")
"""Who asks a service on loopback that has no keys."""

_bearer = HTTPBearer(auto_error=False, description="An API key, as `secondlook keys create` shows it.")


async def _caller(request: Request, needed: SecurityScopes, _: Annotated[object, Security(_bearer)]) -> Caller:
    """The caller, whom the middleware has let in already, if the key has the scopes that the route names."""
    caller: Caller = request.state.caller
    for scope in SCOPES & set(needed.scopes):
        caller.must(scope)
    return caller


By = Annotated[Caller, Security(_caller)]
"""Any key will do."""
Asker = Annotated[Caller, Security(_caller, scopes=["answer"])]
Uploader = Annotated[Caller, Security(_caller, scopes=["files"])]
Reader = Annotated[Caller, Security(_caller, scopes=["read"])]
