"""Spans where the operator wants them; without the extra they are not imported."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module

from app.errors import Misconfigured
from app.settings import Settings
from app.telemetry.watching import Tracing


def tracing_of(settings: Settings, model: Callable[[], str]) -> Tracing | None:
    """What makes spans, if the settings say so. Raises Misconfigured without the extra."""
    if not settings.otel:
        return None
    try:
        tracing: Tracing = import_module("app.telemetry.spans").Spans(model)
    except ModuleNotFoundError as error:
        if not (error.name or "").startswith("opentelemetry"):
            raise
        raise Misconfigured('SECONDLOOK_OTEL needs OpenTelemetry: pip install "secondlook[otel]"') from error
    return tracing
