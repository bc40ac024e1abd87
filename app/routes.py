"""Routes about the service itself: strategies, health, readiness, metrics."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Header, Response
from pydantic import BaseModel

from app.catalog import StrategyList, strategy_cards
from app.dependencies import RequireKey, RequireMetrics, ServiceDep
from app.errors import ERROR_RESPONSE, Responses, error_responses

metrics_router = APIRouter(responses=ERROR_RESPONSE | error_responses(401, 403, 429), dependencies=[RequireMetrics])
_METRICS_RESPONSE: Responses = {
    200: {
        "description": "Prometheus's text, or OpenMetrics where it is accepted.",
        "content": {kind: {"schema": {"type": "string"}} for kind in ("text/plain", "application/openmetrics-text")},
    }
}


@metrics_router.get("/metrics", response_class=Response, responses=_METRICS_RESPONSE)
async def metrics(service: ServiceDep, accept: Annotated[str | None, Header()] = None) -> Response:
    """Prometheus metrics. Needs a key with the scope `metrics`, unless the operator opened it to all."""
    page, kind = await service.telemetry.page(accept)
    return Response(page, headers={"content-type": kind})


class Health(BaseModel):
    """Status of a health check."""

    status: Literal["ok", "ready"]
    model: str | None = None


router = APIRouter(responses=ERROR_RESPONSE | error_responses(401, 403, 429), dependencies=[RequireKey])
public = APIRouter(responses=ERROR_RESPONSE)


@router.get("/v1/strategies", responses=error_responses(503))
def strategies(service: ServiceDep) -> StrategyList:
    """All strategies and presets: what each does, its papers, its parameters."""
    return StrategyList(data=strategy_cards(service.catalogue, service.engine.capabilities))


@public.get("/health", response_model_exclude_none=True)
def health() -> Health:
    """Whether the process lives."""
    return Health(status="ok")


@public.get("/ready", responses=error_responses(503))
def ready(service: ServiceDep) -> Health:
    """Whether questions can be answered."""
    service.queue.check_open()
    return Health(status="ready", model=service.engine.model)
