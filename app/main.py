"""Builds the FastAPI application."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.routing import BaseRoute, Match
from starlette.types import Scope

from agents.engines.base import Engine
from app import routes as metrics
from app.chat import routes as chat
from app.chat.request import ChatJob
from app.errors import ErrorDetail, UnsupportedMediaType
from app.files import routes as files
from app.indexes import routes as indexes
from app.middleware import PUBLIC_PATHS, AuthMiddleware, BodyLimitMiddleware, RequestIdMiddleware, note_error_code
from app.routes import public, router
from app.runs import routes as runs
from app.runs.run import AnswerJob
from app.service import Service
from app.settings import Settings
from app.telemetry.observers import Tracing

QUESTION_PATHS = (AnswerJob.endpoint, ChatJob.endpoint)
"""Routes whose requests may contain media."""
_ROUTERS = (runs.router, chat.router, router, files.router, indexes.router, metrics.metrics_router, public)
_METHODS = ("DELETE", "GET", "HEAD", "PATCH", "POST", "PUT")


def create_app(settings: Settings, engine: Engine | None = None, tracing: Tracing | None = None) -> FastAPI:
    """The service. Without an engine, it loads the one that the settings name and is ready once it has.

    `tracing` takes the place of that which the settings name. Raises Misconfigured.
    """
    service = Service(settings, engine, tracing)
    spans = () if service.tracing is None else service.tracing.middleware

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with service.running():
            yield

    app = FastAPI(
        title="Second Look",
        summary="Ask a question about a video, and say how much looking and thinking you can afford.",
        lifespan=lifespan,
        middleware=[
            *spans,
            Middleware(RequestIdMiddleware, on_end=service.telemetry.on_request_end),
            Middleware(
                AuthMiddleware,
                keys=service.keys,
                public=PUBLIC_PATHS | ({"/metrics"} if settings.open_metrics else set()),
            ),
            Middleware(
                BodyLimitMiddleware,
                limit=settings.max_body_bytes,
                larger=dict.fromkeys(QUESTION_PATHS, settings.max_question_bytes),
                streaming=files.UPLOAD_ROUTE,
            ),
        ],
        exception_handlers={HTTPException: _http_error, RequestValidationError: _validation_error},
    )
    app.state.service = service
    # Including them would build all their routes anew, at the first request of every app. Questions come first.
    app.router.routes[:0] = [route for each in _ROUTERS for route in each.routes]
    return app


async def _http_error(request: Request, error: Exception) -> JSONResponse:
    failure = note_error_code(request.scope, ErrorDetail.from_exception(error))
    response = JSONResponse(failure.body, failure.spec.status, failure.headers)
    if failure.spec.status == 405:
        response.headers["allow"] = ", ".join(_allowed_methods(request))
    return response


def _allowed_methods(request: Request) -> list[str]:
    """Methods allowed at a path, over all routes: Starlette names only those of the first match."""
    routes = request.app.routes
    return [each for each in _METHODS if any(_is_for({**request.scope, "method": each}, route) for route in routes)]


def _is_for(scope: Scope, route: BaseRoute) -> bool:
    return route.matches(scope)[0] is Match.FULL


async def _validation_error(request: Request, error: Exception) -> JSONResponse:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if request.method == "POST" and kind != "application/json":
        error = UnsupportedMediaType(f"Send JSON, as application/json, not {kind or 'a body without a type'}.")
    return await _http_error(request, error)
