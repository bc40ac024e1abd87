"""The route of the numbers."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Header, Response

from app.caller import Watching
from app.reply import FAILED, Responses, errors
from app.service import At

router = APIRouter(responses=FAILED | errors(401, 403, 429), dependencies=[Watching])
_PAGE: Responses = {
    200: {
        "description": "Prometheus's text, or OpenMetrics where it is accepted.",
        "content": {kind: {"schema": {"type": "string"}} for kind in ("text/plain", "application/openmetrics-text")},
    }
}


@router.get("/metrics", response_class=Response, responses=_PAGE)
async def metrics(at: At, accept: Annotated[str | None, Header()] = None) -> Response:
    """The service in numbers. Needs a key with the scope `metrics`, unless the operator opened it to all."""
    page, kind = await at.telemetry.page(accept)
    return Response(page, headers={"content-type": kind})
