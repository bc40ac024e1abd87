"""The routes: what a request needs is fetched, the work is done one floor down."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response

from agents.trace import Listener
from app.caller import Asker, Known, Reader, Uploader
from app.cards import Deleted, ErrorResponse, Health, ModelCard, ModelList, StoredFile, StrategyList
from app.catalog import cards
from app.errors import TooLarge
from app.gate import unless_gone
from app.multipart import file_in
from app.schemas import AnswerRequest, AnswerResponse
from app.service import Service
from app.stream import EventStream


def _service(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


At = Annotated[Service, Depends(_service)]
UPLOAD = ("POST", "/v1/files")
_FORM = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file"],
                    "properties": {
                        "file": {"type": "string", "format": "binary"},
                        "purpose": {"type": "string"},
                    },
                }
            }
        },
    }
}


def _errors(*statuses: int) -> dict[int | str, dict[str, Any]]:
    return {status: {"model": ErrorResponse} for status in statuses}


_FAILED: dict[int | str, dict[str, Any]] = {"default": {"model": ErrorResponse, "description": "What went wrong."}}
router = APIRouter(responses=_FAILED | _errors(401, 403, 429), dependencies=[Known])
public = APIRouter(responses=_FAILED)


_ANSWERED: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The answer. With `stream`, trace events as they happen, then the event `answer`.",
        "content": {"text/event-stream": {"schema": {"type": "string"}}},
    },
    **_errors(400, 403, 404, 413, 415, 422, 429, 503),
}


@router.post("/v1/answers", response_model=AnswerResponse, responses=_ANSWERED)
async def answer(body: AnswerRequest, request: Request, at: At, by: Asker) -> Response | AnswerResponse:
    """Answer a question about a video. With `stream`, as server-sent events."""
    answers = at.answers

    async def work(listener: Listener | None = None) -> AnswerResponse:
        async with at.gate.enter(by):
            return await answers.answer(body, by, listener)

    if body.stream:
        return EventStream(work, at.settings.ping_seconds)
    return await unless_gone(request.receive, work())


@router.post("/v1/files", responses=_errors(400, 413, 415, 422), openapi_extra=_FORM)
async def upload(request: Request, at: At, _: Uploader) -> StoredFile:
    """Keep a video. Its id is the hash of its content, so sending it again changes nothing."""
    spare, declared = at.settings.max_body_bytes, request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > at.settings.max_upload_bytes + spare:
        limit = at.settings.max_upload_bytes
        raise TooLarge(f"The video is larger than {limit} bytes, the most that can be uploaded.")
    kind = request.headers.get("content-type", "")
    return await at.videos.add(file_in(kind, request.stream(), spare))


@router.get("/v1/files/{file_id}", responses=_errors(404))
def file(file_id: str, at: At, _: Reader) -> StoredFile:
    """What is known of an uploaded video."""
    return at.videos.get(file_id)


@router.delete("/v1/files/{file_id}", responses=_errors(404))
def delete(file_id: str, at: At, _: Uploader) -> Deleted:
    """Forget an uploaded video."""
    at.videos.delete(file_id)
    return Deleted(id=file_id)


@router.get("/v1/strategies", responses=_errors(503))
def strategies(at: At) -> StrategyList:
    """All strategies by name: what each does, whose idea it is, and its parameters."""
    return StrategyList(data=cards(at.catalogue, at.engine.offers))


@router.get("/v1/models", responses=_errors(503))
def models(at: At) -> ModelList:
    """The model that answers."""
    engine = at.engine
    return ModelList(data=[ModelCard(id=engine.model, created=at.started, offers=sorted(engine.offers))])


@public.get("/health", response_model_exclude_none=True)
def health() -> Health:
    """Whether the process lives."""
    return Health(status="ok")


@public.get("/ready", responses=_errors(503))
def ready(at: At) -> Health:
    """Whether questions can be answered."""
    return Health(status="ready", model=at.engine.model)
