"""FastAPI dependencies of the routes: the service, and the caller with the scopes that a route requires."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Request, Security
from fastapi.openapi.models import HTTPBearer as BearerModel
from fastapi.security import SecurityScopes
from fastapi.security.base import SecurityBase

from app.access.caller import ALL_SCOPES, Caller
from app.service import Service


class _KeySecurity(SecurityBase):
    """Describes the API key in OpenAPI. The middleware has authenticated the request already."""

    model = BearerModel(description="An API key, as `secondlook keys create` shows it.")
    scheme_name = "HTTPBearer"


class _CallerSecurity(_KeySecurity):
    """The caller, if the key has the scopes that the route names."""

    async def __call__(self, request: Request, needed: SecurityScopes) -> Caller:
        caller: Caller = request.state.caller
        for scope in ALL_SCOPES & set(needed.scopes):
            caller.require(scope)
        return caller


class _MetricsSecurity(_KeySecurity):
    """Requires the scope `metrics`, unless the operator has opened the route."""

    async def __call__(self, request: Request) -> None:
        caller: Caller | None = getattr(request.state, "caller", None)
        if caller is not None:
            caller.require("metrics")


_caller = _CallerSecurity()
RequireMetrics = Security(_MetricsSecurity())
RequireKey = Security(_caller)
"""For routes that need a key, whoever it belongs to."""
CallerDep = Annotated[Caller, RequireKey]
CanAsk = Annotated[Caller, Security(_caller, scopes=["answer"])]
CanUpload = Annotated[Caller, Security(_caller, scopes=["files"])]
CanRead = Annotated[Caller, Security(_caller, scopes=["read"])]


async def _get_service(request: Request) -> Service:
    """Async, because FastAPI would run a plain function in a thread."""
    service: Service = request.app.state.service
    return service


ServiceDep = Annotated[Service, Depends(_get_service)]
