"""Prometheus metrics. Labels come from fixed sets; no request can add one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from agents.core.trace import Event, ModelEvent, ToolEvent
from agents.engines.base import RequestFailure
from app.runs.run import ActiveRun
from app.runs.schemas import RunStatus
from app.telemetry.observers import FinishedRequest, report_of, strategy_of

_METHODS = frozenset({"DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"})
_REQUEST_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)
_WAIT_SECONDS = (0.01, 0.1, 0.5, 1, 5, 10, 30, 60, 300)
ReadValue = Callable[[], float]


class Metrics:
    """The metrics of one service, in a registry of its own.

    `gauges` and `counters` are read when somebody looks: name (without prefix) to what it means and how to read it.
    """

    def __init__(
        self, gauges: Mapping[str, tuple[str, ReadValue]], counters: Mapping[str, tuple[str, ReadValue]]
    ) -> None:
        self.registry = CollectorRegistry()
        self.registry.register(_CallbackCollector(gauges, counters))
        self._requests = self._counter("requests", "Requests that are over.", "route", "method", "status")
        self._seconds = self._histogram("request_seconds", "Until the last byte was sent.", _REQUEST_SECONDS, "route")
        self._errors = self._counter("errors", "Errors told to clients, by code.", "code")
        self._runs = self._counter("runs", "Runs that are over, and why they stopped.", "strategy", "status", "stopped")
        self._run_seconds = self._histogram("run_seconds", "What completed runs took.", _REQUEST_SECONDS, "strategy")
        self._wait = self._histogram("queue_seconds", "How long runs waited for their turn.", _WAIT_SECONDS)
        tokens = self._counter("tokens", "Tokens by the engine's count; cached are part of prompt.", "kind")
        self._prompt, self._cached, self._written = (tokens.labels(kind) for kind in ("prompt", "cached", "completion"))
        self._frames = self._counter("frames_viewed", "Frames shown to the model.")
        self._calls = self._counter("engine_calls", "Calls that the engine answered.")
        self._call_seconds = self._histogram("engine_call_seconds", "What those calls took.", _REQUEST_SECONDS)
        self._engine_failures = self._counter("engine_failures", "Requests to a model server that went wrong.", "kind")
        self._tools = self._counter("tool_calls", "Tools applied, by outcome.", "tool", "outcome")

    def on_request_end(self, request: FinishedRequest) -> None:
        """Count a request."""
        route = request.route or "unmatched"
        method = request.method if request.method in _METHODS else "other"
        self._requests.labels(route, method, str(request.status)).inc()
        self._seconds.labels(route).observe(request.seconds)
        if request.error is not None:
            self._errors.labels(request.error).inc()

    def on_run_start(self, run: ActiveRun, waited: float) -> None:  # noqa: ARG002 - as the others are told
        """Record how long a run waited."""
        self._wait.observe(waited)

    def on_event(self, run: ActiveRun, event: Event, choice: int) -> None:  # noqa: ARG002 - as the others are told
        """Count what the engine and the tools did."""
        if isinstance(event, ModelEvent):
            self._calls.inc()
            self._call_seconds.observe(event.seconds)
            self._frames.inc(len(event.times))
            self._prompt.inc(event.prompt_tokens)
            self._cached.inc(event.cached_tokens)
            self._written.inc(event.completion_tokens)
        elif isinstance(event, ToolEvent):
            self._tools.labels(event.tool, "error" if event.error else "ok").inc()

    def on_run_end(self, run: ActiveRun, status: RunStatus, error: str | None) -> None:
        """Count a run."""
        report = report_of(run)
        strategy = strategy_of(run) or "none"
        self._runs.labels(strategy, status, report.get("stopped") or error or "none").inc()
        if report:
            self._run_seconds.labels(strategy).observe(report["seconds"]["total"])

    def count_failure(self, kind: RequestFailure) -> None:
        """Count a failed request to a model server. Thread-safe."""
        self._engine_failures.labels(kind).inc()

    def page(self, accept: str | None) -> tuple[bytes, str]:
        """The metrics in the format that the client accepts (OpenMetrics or Prometheus), and its content type."""
        encode, kind = choose_encoder(accept or "")
        return encode(self.registry), kind

    def _counter(self, name: str, what: str, *labels: str) -> Counter:
        return Counter(f"secondlook_{name}", what, labels, registry=self.registry)

    def _histogram(self, name: str, what: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
        return Histogram(f"secondlook_{name}", what, labels, buckets=buckets, registry=self.registry)


class _CallbackCollector(Collector):
    """Gauges and counters that are read from other objects when scraped."""

    def __init__(
        self, gauges: Mapping[str, tuple[str, ReadValue]], counters: Mapping[str, tuple[str, ReadValue]]
    ) -> None:
        self._gauges = gauges
        self._counters = counters

    def collect(self) -> Iterator[Metric]:
        """Yield their present values."""
        for name, (what, read) in self._gauges.items():
            yield GaugeMetricFamily(f"secondlook_{name}", what, read())
        for name, (what, read) in self._counters.items():
            yield CounterMetricFamily(f"secondlook_{name}", what, read())
