"""Put the service together."""

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

from agents.engine import Engine
from app.auth import PUBLIC, Authenticate
from app.chat import routes as chat
from app.chat.job import ChatJob
from app.errors import Failure, WrongType
from app.files import routes as files
from app.indexes import routes as indexes
from app.middleware import BodyLimit, Correlate, noted
from app.routes import public, router
from app.runs import routes as runs
from app.runs.job import AnswerJob
from app.service import Service
from app.settings import Settings
from app.telemetry import routes as metrics
from app.telemetry.watching import Tracing

QUESTIONS = (AnswerJob.endpoint, ChatJob.endpoint)
"""Where media may come with the question."""
_ROUTERS = (runs.router, chat.router, router, files.router, indexes.router, metrics.router, public)
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
            Middleware(Correlate, tell=service.telemetry.over),
            Middleware(
                Authenticate, keys=service.keys, public=PUBLIC | ({"/metrics"} if settings.open_metrics else set())
            ),
            Middleware(
                BodyLimit,
                limit=settings.max_body_bytes,
                larger=dict.fromkeys(QUESTIONS, settings.max_question_bytes),
                streaming=files.UPLOAD,
            ),
        ],
        exception_handlers={HTTPException: _failed, RequestValidationError: _invalid},
    )
    app.state.service = service
    # Including them would build all their routes anew, at the first request of every app. Questions come first.
    app.router.routes[:0] = [route for each in _ROUTERS for route in each.routes]
    return app


async def _failed(request: Request, error: Exception) -> JSONResponse:
    failure = noted(request.scope, Failure.of(error))
    response = JSONResponse(failure.body, failure.row.status, failure.headers)
    if failure.row.status == 405:
        response.headers["allow"] = ", ".join(_allowed(request))
    return response


def _allowed(request: Request) -> list[str]:
    """What may be done at a path. Starlette names only the methods of the first route that has this path."""
    routes = request.app.routes
    return [each for each in _METHODS if any(_is_for({**request.scope, "method": each}, route) for route in routes)]


def _is_for(scope: Scope, route: BaseRoute) -> bool:
    return route.matches(scope)[0] is Match.FULL


async def _invalid(request: Request, error: Exception) -> JSONResponse:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if request.method == "POST" and kind != "application/json":
        error = WrongType(f"Send JSON, as application/json, not {kind or 'a body without a type'}.")
    return await _failed(request, error)
