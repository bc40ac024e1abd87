"""OpenTelemetry spans for requests, runs, rounds, frames, model calls and tools. Needs the extra `otel`.

Names follow the conventions for generative AI of open-telemetry/semantic-conventions-genai, which may still change;
what they do not name is `secondlook.*`. No span has a question, a reply or a tool's arguments in it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextvars import Token
from dataclasses import dataclass, field
from time import time_ns
from typing import Any

from opentelemetry import context as contexts
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware
from opentelemetry.propagate import inject
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Span, SpanKind, StatusCode
from starlette.middleware import Middleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from agents.core.trace import Event, FramesEvent, ModelEvent, SpanBeginEvent, SpanEndEvent, ToolEvent
from app.runs.run import ActiveRun
from app.runs.schemas import RunStatus
from app.telemetry.observers import FinishedRequest, strategy_of

_OPERATION, _MODEL, _PROVIDER = "gen_ai.operation.name", "gen_ai.request.model", "gen_ai.provider.name"
_NANOSECONDS = 1_000_000_000
_UNTRACED = "/health,/ready,/metrics"


@dataclass(slots=True)
class _RunSpan:
    """The open spans of a run: its own, and the rounds of each of its answers."""

    span: Span
    token: Token[Context]
    rounds: dict[int, list[Span]] = field(default_factory=dict)


class OpenTelemetryTracing:
    """Makes spans. `model` returns the model's name. Without a provider, spans go where the OTEL_… variables say."""

    def __init__(self, model: Callable[[], str], provider: TracerProvider | None = None) -> None:
        self._model = model
        self._provider = provider or _otlp_provider()
        self._tracer = self._provider.get_tracer("secondlook")
        self._open: dict[str, _RunSpan] = {}

    @property
    def middleware(self) -> Sequence[Middleware]:
        """A span for every request, which continues the client's trace."""
        spans = Middleware(
            OpenTelemetryMiddleware,
            tracer_provider=self._provider,
            excluded_urls=_UNTRACED,
            exclude_spans=["receive", "send"],
        )
        return spans, Middleware(_RouteNameMiddleware)

    def headers(self) -> Mapping[str, str]:
        """The W3C `traceparent` of the current run, for the model server."""
        found: dict[str, str] = {}
        inject(found)
        return found

    def close(self) -> None:
        """Flush and shut down. Blocks."""
        self._provider.shutdown()

    def on_request_end(self, request: FinishedRequest) -> None:
        """Nothing to do: the ASGI middleware ends its span."""

    def on_run_start(self, run: ActiveRun, waited: float) -> None:
        """Start the span of a run; later spans of its task are its children."""
        attributes: dict[str, Any] = {
            _OPERATION: "invoke_workflow",
            _PROVIDER: "secondlook",
            _MODEL: self._model(),
            "secondlook.run_id": run.id,
            "secondlook.tenant": run.caller.tenant,
            "secondlook.queue_seconds": waited,
        }
        span = self._tracer.start_span("invoke_workflow", attributes=attributes)
        self._open[run.id] = _RunSpan(span, contexts.attach(trace.set_span_in_context(span)))

    def on_event(self, run: ActiveRun, event: Event, choice: int) -> None:
        """Start or end the span of a round, or add one for a finished step."""
        if (spans := self._open.get(run.id)) is None:
            return
        rounds = spans.rounds.setdefault(choice, [])
        within = trace.set_span_in_context(rounds[-1] if rounds else spans.span)
        match event:
            case SpanBeginEvent():
                rounds.append(self._tracer.start_span(event.span, context=within))
            case SpanEndEvent() if rounds:
                rounds.pop().end()
            case FramesEvent():
                self._past(within, "decode", event.seconds, {"secondlook.frames": len(event.times)})
            case ModelEvent():
                self._past(within, f"chat {self._model()}", event.seconds, self._call(event), SpanKind.CLIENT)
            case ToolEvent():
                self._past(within, f"execute_tool {event.tool}", event.seconds, _tool_attributes(event))

    def on_run_end(self, run: ActiveRun, status: RunStatus, error: str | None) -> None:
        """End the span of a run."""
        if (spans := self._open.pop(run.id, None)) is None:
            return
        for left in (each for rounds in spans.rounds.values() for each in reversed(rounds)):
            left.end()
        if (strategy := strategy_of(run)) is not None:
            spans.span.update_name(f"invoke_workflow {strategy}")
            spans.span.set_attribute("gen_ai.workflow.name", strategy)
        spans.span.set_attribute("secondlook.status", status)
        if error is not None:
            spans.span.set_attribute("error.type", error)
            spans.span.set_status(StatusCode.ERROR)
        spans.span.end()
        contexts.detach(spans.token)

    def _call(self, event: ModelEvent) -> dict[str, Any]:
        return {
            _OPERATION: "chat",
            _PROVIDER: "secondlook",
            _MODEL: self._model(),
            "gen_ai.request.choice.count": len(event.replies),
            "gen_ai.usage.input_tokens": event.prompt_tokens,
            "gen_ai.usage.output_tokens": event.completion_tokens,
            "gen_ai.usage.cache_read.input_tokens": event.cached_tokens,
            "secondlook.purpose": event.purpose,
            "secondlook.frames": len(event.times),
        }

    def _past(
        self, within: Context, name: str, seconds: float, attributes: dict[str, Any], kind: SpanKind = SpanKind.INTERNAL
    ) -> None:
        """Add a span that ends now and took so many seconds."""
        end = time_ns()
        start = end - round(seconds * _NANOSECONDS)
        span = self._tracer.start_span(name, context=within, kind=kind, attributes=attributes, start_time=start)
        span.end(end)


class _RouteNameMiddleware:
    """Names a request's span by its route, because paths hold ids."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        span = trace.get_current_span()

        async def naming(message: Message) -> None:
            if message["type"] == "http.response.start" and (route := getattr(scope.get("route"), "path", None)):
                span.update_name(f"{scope['method']} {route}")
                span.set_attribute("http.route", route)
                span.set_attribute("secondlook.request_id", scope["state"]["request_id"])
            await send(message)

        await self._app(scope, receive, naming)


def _tool_attributes(event: ToolEvent) -> dict[str, Any]:
    found = {_OPERATION: "execute_tool", "gen_ai.tool.name": event.tool, "secondlook.frames": len(event.times)}
    return {**found, **({"error.type": event.error} if event.error else {})}


def _otlp_provider() -> TracerProvider:
    provider = TracerProvider(resource=Resource.create({"service.name": "secondlook"}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return provider
