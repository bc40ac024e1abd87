"""Metrics, logs and tracing of one service, put together."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module

from sqlalchemy import func, select
from starlette.types import Scope

from agents.engines.base import RequestFailure
from app.db.session import Database, DatabaseUnavailable
from app.db.tables import BlobRecord
from app.errors import Misconfigured
from app.settings import Settings
from app.telemetry.logs import AccessLog
from app.telemetry.metrics import Metrics, ReadValue
from app.telemetry.observers import FinishedRequest, RunObserver, RunObservers, Tracing


class Telemetry:
    """Metrics and logs always, spans if tracing is on. It observes the engine's requests too (`RequestObserver`)."""

    def __init__(
        self,
        records: Database,
        gauges: Mapping[str, tuple[str, ReadValue]],
        counters: Mapping[str, tuple[str, ReadValue]],
        spans: Tracing | None = None,
    ) -> None:
        self._records = records
        self._stored = 0.0
        stored = ("Bytes of all files that are kept.", lambda: self._stored)
        self.metrics = Metrics({**gauges, "stored_bytes": stored}, counters)
        self.spans = spans
        watchers: list[RunObserver] = [self.metrics, AccessLog()]
        self.observers = RunObservers(watchers if spans is None else [*watchers, spans])

    def on_request_end(self, scope: Scope, status: int, seconds: float, run_id: str | None) -> None:
        """Pass a finished request on to all observers."""
        state, route = scope["state"], scope.get("route")
        caller = state.get("caller")
        self.observers.on_request_end(
            FinishedRequest(
                method=scope["method"],
                route=getattr(route, "path", None),
                status=status,
                seconds=seconds,
                request_id=state["request_id"],
                tenant=caller and caller.tenant,
                run_id=run_id,
                error=state.get("error"),
            )
        )

    def request_failed(self, kind: RequestFailure) -> None:
        """Count a failed request to the model server."""
        self.metrics.count_failure(kind)

    def headers(self) -> Mapping[str, str]:
        """Trace headers for requests to the model server."""
        return {} if self.spans is None else self.spans.headers()

    async def page(self, accept: str | None) -> tuple[bytes, str]:
        """The page of /metrics and its content type."""
        try:
            total = await self._records.read(lambda session: session.scalar(select(func.sum(BlobRecord.bytes))))
            self._stored = float(total or 0)
        except DatabaseUnavailable:
            pass  # the last number stands: whoever watches needs the others all the more
        return self.metrics.page(accept)


def make_tracing(settings: Settings, model: Callable[[], str]) -> Tracing | None:
    """The tracing that the settings ask for. Raises Misconfigured if the extra `otel` is missing."""
    if not settings.otel:
        return None
    try:
        tracing: Tracing = import_module("app.telemetry.tracing").OpenTelemetryTracing(model)
    except ModuleNotFoundError as error:
        if not (error.name or "").startswith("opentelemetry"):
            raise
        raise Misconfigured('SECONDLOOK_OTEL needs OpenTelemetry: pip install "secondlook[otel]"') from error
    return tracing
