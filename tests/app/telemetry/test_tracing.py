"""Spans of requests, runs and what is done in them; and nothing of OpenTelemetry where nobody wants it."""

from __future__ import annotations

import gzip
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import ClassVar

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from agents.engines.base import Generation, OnText, Prompt, Sampling
from agents.engines.scripted import ScriptedEngine
from app.errors import Misconfigured
from app.settings import Settings
from app.telemetry.telemetry import make_tracing
from app.telemetry.tracing import OpenTelemetryTracing
from tests.app.conftest import always, body, over_asgi

pytestmark = pytest.mark.anyio
TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
ROUNDS = {"name": "self_consistency", "samples": 2, "frames": 2, "diversity": "temperature"}


class Asking(ScriptedEngine):
    """Notes what a model server would be told of the trace."""

    spans: OpenTelemetryTracing
    told: list[str]

    async def generate(self, prompt: Prompt, sampling: Sampling, n: int, on_text: OnText | None = None) -> Generation:
        self.told.append(self.spans.headers()["traceparent"])
        return await super().generate(prompt, sampling, n, on_text)


async def traced(settings: Settings, video_path: Path, exporter: InMemorySpanExporter, **fields: object) -> Asking:
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    engine = Asking(always("A"))
    engine.told, engine.spans = [], OpenTelemetryTracing(lambda: "scripted", provider)
    async with over_asgi(settings, engine, engine.spans) as client:
        headers = {"traceparent": f"00-{TRACE}-{PARENT}-01"}
        await client.post("/v1/answers", json=body(video_path, **fields), headers=headers)
        await client.get("/health")
    return engine


def parent_of(span: ReadableSpan) -> int | None:
    return span.parent.span_id if span.parent else None


async def test_a_run_is_a_tree_in_the_clients_trace(settings: Settings, video_path: Path) -> None:
    exporter = InMemorySpanExporter()
    engine = await traced(settings, video_path, exporter, strategy=ROUNDS)
    spans = {span.name: span for span in exporter.get_finished_spans()}
    request, run = spans["POST /v1/answers"], spans["invoke_workflow self_consistency"]
    part, call = spans["samples 1-2"], spans["chat scripted"]
    assert len(spans) == 5, "the health page is no news"
    assert {span.context.trace_id for span in spans.values() if span.context} == {int(TRACE, 16)}
    assert parent_of(request) == int(PARENT, 16)
    assert request.context and parent_of(run) == request.context.span_id
    assert run.context and parent_of(part) == run.context.span_id
    assert part.context and {parent_of(call), parent_of(spans["decode"])} == {part.context.span_id}
    assert engine.told == [f"00-{TRACE}-{run.context.span_id:016x}-01"]
    assert request.attributes and request.attributes["http.route"] == "/v1/answers"
    assert run.attributes and run.attributes["gen_ai.workflow.name"] == "self_consistency"
    assert call.attributes and call.attributes["gen_ai.operation.name"] == "chat"
    assert call.attributes["gen_ai.request.choice.count"] == 2
    assert call.attributes["gen_ai.usage.input_tokens"] == engine_tokens(engine)
    assert call.start_time and call.end_time and call.start_time <= call.end_time
    text = " ".join(span.to_json() for span in spans.values())
    assert "Which colour" not in text and "Answer: A" not in text


def engine_tokens(engine: ScriptedEngine) -> int:
    call = engine.calls[0]
    return len(call.text.encode()) + engine.picture_tokens(call.prompt)


async def test_a_run_that_fails_says_so(settings: Settings, video_path: Path) -> None:
    exporter = InMemorySpanExporter()
    await traced(settings, video_path, exporter, start=100)
    (run,) = [span for span in exporter.get_finished_spans() if span.name == "invoke_workflow"]
    assert run.attributes and run.attributes["error.type"] == "invalid_value"
    assert not run.status.is_ok


class Collector(BaseHTTPRequestHandler):
    """Takes what is exported."""

    taken: ClassVar[list[tuple[str, bytes]]] = []

    def do_POST(self) -> None:
        """Spans, in OTLP."""
        self.taken.append((self.path, self.rfile.read(int(self.headers["content-length"]))))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


async def test_they_go_where_the_environment_says(
    settings: Settings, video_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with HTTPServer(("127.0.0.1", 0), Collector) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
        wanted = settings.model_copy(update={"otel": True})
        async with over_asgi(wanted, ScriptedEngine(always("A"))) as client:
            await client.post("/v1/answers", json=body(video_path))
        server.shutdown()
    path, content = Collector.taken[0]
    assert path == "/v1/traces" and b"invoke_workflow direct" in (decompressed(content))


def decompressed(content: bytes) -> bytes:
    return gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content


BARE = """
import sys
sys.modules["opentelemetry.sdk"] = None
import app.main
assert "app.telemetry.tracing" not in sys.modules
"""


def test_without_the_extra_it_runs_and_wanting_spans_is_the_operators_error(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert make_tracing(settings, lambda: "m") is None
    assert subprocess.run([sys.executable, "-c", BARE], check=False).returncode == 0
    for name in [
        each for each in sys.modules if each == "app.telemetry.tracing" or each.startswith("opentelemetry.sdk")
    ]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk", None)
    with pytest.raises(Misconfigured, match=r"secondlook\[otel\]"):
        make_tracing(settings.model_copy(update={"otel": True}), lambda: "m")
