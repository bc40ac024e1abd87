"""Who asks: the tenant whose things are seen, what the key may do, and how much of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Literal, get_args

from fastapi import Request, Security
from fastapi.openapi.models import HTTPBearer as BearerModel
from fastapi.security import SecurityScopes
from fastapi.security.base import SecurityBase

from agents.budget import Purse
from app.errors import Forbidden
from app.quota import Quota

Scope = Literal["answer", "files", "read", "metrics"]
"""answer: spend compute (ask, start and cancel runs). files: upload and delete files. read: look at files, their
content and runs. metrics: look at the service's own numbers. No scope contains another."""
SCOPES: frozenset[Scope] = frozenset(get_args(Scope))


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks. `key` is the key's id, not its secret. Whatever is stored belongs to `tenant`.

    `purse` has the tokens that all runs of the key may still spend today, once one of them is admitted.
    """

    tenant: str
    key: str
    scopes: frozenset[Scope] = SCOPES
    quota: Quota = field(default_factory=Quota)
    purse: Purse | None = field(default=None, compare=False)

    def must(self, scope: Scope) -> None:
        """Raise Forbidden unless the key has this scope."""
        if scope not in self.scopes:
            raise Forbidden(f"This key may not do that: it lacks the scope {scope!r}.", code="missing_scope")


LOCAL = Caller(tenant="local", key="local", quota=Quota(requests_per_minute=None))
"""Who asks a service on loopback that has no keys; nobody else is there to be protected from a fast client."""


class _Key(SecurityBase):
    """The key of a request, as the API's description tells of it. The middleware has asked for it already."""

    model = BearerModel(description="An API key, as `secondlook keys create` shows it.")
    scheme_name = "HTTPBearer"


class _Known(_Key):
    """The caller, if the key has the scopes that the route names."""

    async def __call__(self, request: Request, needed: SecurityScopes) -> Caller:
        caller: Caller = request.state.caller
        for scope in SCOPES & set(needed.scopes):
            caller.must(scope)
        return caller


class _Watching(_Key):
    """Only with the scope for it; where the operator has opened the route to all, nobody was asked who it is."""

    async def __call__(self, request: Request) -> None:
        caller: Caller | None = getattr(request.state, "caller", None)
        if caller is not None:
            caller.must("metrics")


_known = _Known()
Watching = Security(_Watching())
Known = Security(_known)
"""For routes that need some key but not to know whose."""
By = Annotated[Caller, Known]
Asker = Annotated[Caller, Security(_known, scopes=["answer"])]
Uploader = Annotated[Caller, Security(_known, scopes=["files"])]
Reader = Annotated[Caller, Security(_known, scopes=["read"])]
