"""OpenAI's routes: chat completions and models."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from app.caller import Asker, Known
from app.cards import ModelCard, ModelList
from app.chat import chunks
from app.chat.completion import ChatCompletion
from app.chat.job import ChatJob
from app.chat.models import Models
from app.chat.schemas import ChatRequest
from app.errors import BadRequest
from app.reply import EVENTS, FAILED, Responses, errors
from app.runs.serving import RUN_ID, answer
from app.runs.ticket import IdempotencyKey, Ticket
from app.service import At, Service
from app.stream import EventStream

router = APIRouter(responses=FAILED | errors(401, 403, 429, 503), tags=["openai"])
_REPLIED: Responses = {
    200: {
        "description": "The reply. With `stream`, `chat.completion.chunk` objects as they come, then `[DONE]`.",
        "headers": RUN_ID,
        "content": EVENTS,
    },
    **errors(400, 404, 409, 413, 415, 422, 500, 507),
}


@router.post("/v1/chat/completions", response_model=ChatCompletion, responses=_REPLIED)
async def complete(
    body: ChatRequest, request: Request, at: At, by: Asker, idempotency_key: IdempotencyKey = None
) -> Response:
    """Answer the last message of a conversation about a video, or about pictures that are shown in order.

    Everything that is ours stands in `secondlook`, in the request and in the reply.
    """
    if (body.n or 1) > at.settings.max_choices:
        raise BadRequest(f"n: {at.settings.max_choices} choices are the most that can be asked for.", param="n")
    job = ChatJob(body, _models(at).strategy(body.model))
    ticket = await Ticket.of(request, idempotency_key, streamed=bool(body.stream))
    live = await at.runs.start(job, by, ticket)
    headers = {"x-run-id": live.id}
    if body.stream:
        sent = chunks.frames(live, job, at.engine.model, ticket.quiet(at.settings.ping_seconds))
        return EventStream(sent, chunks.failed, watch=at.runs.awaited(live, ticket), headers=headers)
    return JSONResponse(await answer(at.runs, live, ticket, request), headers=headers)


@router.get("/v1/models", dependencies=[Known])
def models(at: At) -> ModelList:
    """The model under its own name, and under one for every strategy, for clients that choose by name alone."""
    return ModelList(data=list(_models(at).cards))


@router.get("/v1/models/{model:path}", dependencies=[Known], responses=errors(404))
def model(model: str, at: At) -> ModelCard:
    """One name of the model."""
    return _models(at).card(model)


def _models(at: Service) -> Models:
    return Models(at.engine, at.catalogue, at.started)
