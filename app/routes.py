"""The routes that tell what there is: strategies, health."""

from __future__ import annotations

from fastapi import APIRouter

from app.caller import Known
from app.cards import Health, StrategyList
from app.catalog import cards
from app.reply import FAILED, errors
from app.service import At

router = APIRouter(responses=FAILED | errors(401, 403, 429), dependencies=[Known])
public = APIRouter(responses=FAILED)


@router.get("/v1/strategies", responses=errors(503))
def strategies(at: At) -> StrategyList:
    """All strategies by name: what each does, whose idea it is, and its parameters."""
    return StrategyList(data=cards(at.catalogue, at.engine.offers))


@public.get("/health", response_model_exclude_none=True)
def health() -> Health:
    """Whether the process lives."""
    return Health(status="ok")


@public.get("/ready", responses=errors(503))
def ready(at: At) -> Health:
    """Whether questions can be answered."""
    at.gate.check_open()
    return Health(status="ready", model=at.engine.model)
