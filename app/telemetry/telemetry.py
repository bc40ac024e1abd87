"""All that watches one service, put together."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import func, select
from starlette.types import Scope

from agents.engines.watch import Mishap
from app.records import BlobRecord, Records, RecordsDown
from app.telemetry.lines import Lines
from app.telemetry.metrics import Metrics, Reading
from app.telemetry.watching import Answered, Tracing, Watcher, Watchers


class Telemetry:
    """Numbers and log lines always, spans if there are any. It is the engine's watch too (`agents.engines.watch`)."""

    def __init__(
        self,
        records: Records,
        gauges: Mapping[str, tuple[str, Reading]],
        counters: Mapping[str, tuple[str, Reading]],
        spans: Tracing | None = None,
    ) -> None:
        self._records = records
        self._stored = 0.0
        stored = ("Bytes of all files that are kept.", lambda: self._stored)
        self.metrics = Metrics({**gauges, "stored_bytes": stored}, counters)
        self.spans = spans
        watchers: list[Watcher] = [self.metrics, Lines()]
        self.watchers = Watchers(watchers if spans is None else [*watchers, spans])

    def over(self, scope: Scope, status: int, seconds: float, run_id: str | None) -> None:
        """A request is over."""
        state, route = scope["state"], scope.get("route")
        caller = state.get("caller")
        self.watchers.answered(
            Answered(
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

    def mishap(self, kind: Mishap) -> None:
        """Something went wrong on the way to the model server."""
        self.metrics.mishap(kind)

    def headers(self) -> Mapping[str, str]:
        """What the model server is told of the trace."""
        return {} if self.spans is None else self.spans.headers()

    async def page(self, accept: str | None) -> tuple[bytes, str]:
        """The numbers, and the type in which they are written."""
        try:
            total = await self._records.read(lambda session: session.scalar(select(func.sum(BlobRecord.bytes))))
            self._stored = float(total or 0)
        except RecordsDown:
            pass  # the last number stands: whoever watches needs the others all the more
        return self.metrics.page(accept)
