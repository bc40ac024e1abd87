"""OpenAI-compatible routes: chat completions and models."""

from __future__ import annotations

from collections.abc import Sequence

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from agents.engines.base import Engine
from agents.presets import Catalogue
from app.chat import stream
from app.chat.request import ChatJob
from app.chat.response import ChatCompletion
from app.chat.schemas import ChatRequest, ModelCard, ModelList
from app.dependencies import CanAsk, RequireKey, ServiceDep
from app.errors import ERROR_RESPONSE, BadRequest, NotFound, Responses, error_responses
from app.runs.idempotency import IdempotencyKey, RequestContext
from app.runs.manager import RUN_ID_HEADER, wait_for_response
from app.service import Service
from app.sse import EVENT_STREAM_CONTENT, EventStreamResponse


class ModelNames:
    """`model` and `model:strategy` for every strategy that the engine can run."""

    def __init__(self, engine: Engine, catalogue: Catalogue, created: int) -> None:
        self._engine = engine
        self._created = created
        offers = engine.capabilities
        self._strategies = [
            name for name in catalogue.names if catalogue.resolve(name).required_capabilities() <= offers
        ]

    @property
    def list(self) -> Sequence[ModelCard]:
        """Every model name."""
        return [self._card(None), *map(self._card, self._strategies)]

    def get(self, name: str) -> ModelCard:
        """The card of one model name. Raises NotFound."""
        return self._card(self.strategy(name))

    def strategy(self, name: str) -> str | None:
        """The strategy that a model's name chooses, if any. Raises NotFound."""
        if name == self._engine.model:
            return None
        model, colon, strategy = name.rpartition(":")
        if not colon or model != self._engine.model or strategy not in self._strategies:
            known = f"{self._engine.model}, alone or with a strategy of this service after a colon"
            raise NotFound(f"There is no model {name!r}. There is {known}.", param="model", code="model_not_found")
        return strategy

    def _card(self, strategy: str | None) -> ModelCard:
        name = self._engine.model if strategy is None else f"{self._engine.model}:{strategy}"
        return ModelCard(id=name, created=self._created, offers=sorted(self._engine.capabilities), strategy=strategy)


router = APIRouter(responses=ERROR_RESPONSE | error_responses(401, 403, 429, 503), tags=["openai"])
_COMPLETION_RESPONSES: Responses = {
    200: {
        "description": "The reply. With `stream`, `chat.completion.chunk` objects as they come, then `[DONE]`.",
        "headers": RUN_ID_HEADER,
        "content": EVENT_STREAM_CONTENT,
    },
    **error_responses(400, 404, 409, 413, 415, 422, 500, 507),
}


@router.post("/v1/chat/completions", response_model=ChatCompletion, responses=_COMPLETION_RESPONSES)
async def complete(
    body: ChatRequest, request: Request, service: ServiceDep, caller: CanAsk, idempotency_key: IdempotencyKey = None
) -> Response:
    """Answer the last message of a conversation about a video, or about pictures that are shown in order.

    Everything that is ours stands in `secondlook`, in the request and in the reply.
    """
    if (body.n or 1) > service.settings.max_choices:
        raise BadRequest(f"n: {service.settings.max_choices} choices are the most that can be asked for.", param="n")
    job = ChatJob(body, _models(service).strategy(body.model))
    ticket = await RequestContext.from_request(request, idempotency_key, streamed=bool(body.stream))
    live = await service.runs.start(job, caller, ticket)
    headers = {"x-run-id": live.id}
    if body.stream:
        sent = stream.stream_chat(live, job, service.engine.model, ticket.ping_interval(service.settings.ping_seconds))
        return EventStreamResponse(
            sent, stream.encode_error, watching=service.runs.client_waiting(live, ticket), headers=headers
        )
    return JSONResponse(await wait_for_response(service.runs, live, ticket, request), headers=headers)


@router.get("/v1/models", dependencies=[RequireKey])
def models(service: ServiceDep) -> ModelList:
    """The model under its own name, and under one for every strategy, for clients that choose by name alone."""
    return ModelList(data=list(_models(service).list))


@router.get("/v1/models/{model:path}", dependencies=[RequireKey], responses=error_responses(404))
def model(model: str, service: ServiceDep) -> ModelCard:
    """One name of the model."""
    return _models(service).get(model)


def _models(service: Service) -> ModelNames:
    return ModelNames(service.engine, service.catalogue, service.started)
