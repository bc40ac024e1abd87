"""The routes of answers and runs."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Header, Query, Request, Response
from fastapi.responses import JSONResponse

from app.answers.schemas import AnswerRequest, AnswerResponse
from app.dependencies import CanAsk, CanRead, ServiceDep
from app.errors import ERROR_RESPONSE, Responses, error_responses
from app.runs import sse_events
from app.runs.idempotency import IdempotencyKey, RequestContext
from app.runs.manager import RUN_ID_HEADER, wait_for_response
from app.runs.run import AnswerJob
from app.runs.schemas import RunList, RunObject, RunStatus
from app.sse import EVENT_STREAM_CONTENT, EventStreamResponse

router = APIRouter(responses=ERROR_RESPONSE | error_responses(401, 403, 429, 503))
_ANSWER_RESPONSES: Responses = {
    200: {
        "description": "The answer. With `stream`, trace events as they happen, then the event `answer`. Meanwhile "
        "events `delta` have the words of a call as the model writes them: they have no id and are never replayed, "
        "since the event `asked` has them all.",
        "headers": RUN_ID_HEADER,
        "content": EVENT_STREAM_CONTENT,
    },
    202: {"description": "The run, which goes on in the background.", "headers": RUN_ID_HEADER, "model": RunObject},
    **error_responses(400, 404, 409, 413, 415, 422, 500, 507),
}
_EVENTS_RESPONSES: Responses = {
    200: {"description": "Events from the first or from after `Last-Event-ID` on.", "content": EVENT_STREAM_CONTENT},
    204: {"description": "There are no more: the last of them was seen."},
    **error_responses(400, 404),
}
_LastEventId = Annotated[
    int, Header(alias="last-event-id", ge=0, lt=2**31, description="Number of the last event seen.")
]


@router.post("/v1/answers", response_model=AnswerResponse, responses=_ANSWER_RESPONSES)
async def ask(
    body: AnswerRequest, request: Request, service: ServiceDep, caller: CanAsk, idempotency_key: IdempotencyKey = None
) -> Response:
    """Answer a question about a video: now, as server-sent events with `stream`, or later with `background`."""
    ticket = await RequestContext.from_request(
        request, idempotency_key, background=body.background, streamed=body.stream
    )
    live = await service.runs.start(AnswerJob(body), caller, ticket)
    headers = {"x-run-id": live.id}
    if body.background:
        shown = await service.history.get(caller.tenant, live.id)
        return JSONResponse(shown.model_dump(mode="json"), 202, headers)
    if body.stream:
        sent = sse_events.stream_run(live, ticket.ping_interval(service.settings.ping_seconds))
        return EventStreamResponse(
            sent, sse_events.encode_error, watching=service.runs.client_waiting(live, ticket), headers=headers
        )
    return JSONResponse(await wait_for_response(service.runs, live, ticket, request), headers=headers)


@router.get("/v1/runs", tags=["runs"], responses=error_responses(400, 404))
async def runs(
    service: ServiceDep,
    caller: CanRead,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    after: Annotated[str | None, Query(description="Id of the last run of the page before.")] = None,
    order: Literal["asc", "desc"] = "desc",
    status: RunStatus | None = None,
) -> RunList:
    """The runs of the key's tenant, newest first unless told otherwise."""
    return await service.history.page(caller.tenant, limit=limit, after=after, order=order, status=status)


@router.get("/v1/runs/{run_id}", tags=["runs"], responses=error_responses(404))
async def run(run_id: str, service: ServiceDep, caller: CanRead) -> RunObject:
    """A run with its request, its whole trace, and its response."""
    return await service.history.get(caller.tenant, run_id)


@router.get("/v1/runs/{run_id}/events", tags=["runs"], responses=_EVENTS_RESPONSES, response_class=Response)
async def events(run_id: str, service: ServiceDep, caller: CanRead, last_seen: _LastEventId = 0) -> Response:
    """Past events of a run, then new ones, as server-sent events; the last is `answer` or `error`."""
    last = await service.history.end_seq(caller.tenant, run_id)
    if last is not None and last_seen >= last:
        return Response(status_code=204)
    sent = service.history.follow(caller.tenant, run_id, last_seen, service.settings.ping_seconds)
    return EventStreamResponse(sent, sse_events.encode_error, headers={"x-run-id": run_id})


@router.post("/v1/runs/{run_id}/cancel", tags=["runs"], responses=error_responses(404, 409))
async def cancel(run_id: str, service: ServiceDep, caller: CanAsk) -> RunObject:
    """Cancel a run. One that has finished stays as it is."""
    await service.history.end_seq(caller.tenant, run_id)
    if live := service.runs.active.get(caller.tenant, run_id):
        await service.runs.cancel(live)
    return service.history.require_finished(await service.history.get(caller.tenant, run_id))


@router.post("/v1/runs/{run_id}/resume", status_code=202, tags=["runs"], responses=error_responses(400, 404, 409, 507))
async def resume(run_id: str, request: Request, service: ServiceDep, caller: CanAsk) -> RunObject:
    """Run an interrupted, cancelled or failed run again from the start, in the background.

    The request and the seed are the same, so the same frames are looked at and the same samples drawn, as far as the
    model itself repeats itself; what is still in caches is not paid for twice. The run keeps its id and its trace.
    """
    await service.runs.resume(await service.history.reopen(caller, run_id, request.state.request_id))
    return await service.history.get(caller.tenant, run_id)
