"""The routes of answers and runs."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Header, Query, Request, Response
from fastapi.responses import JSONResponse

from app.caller import Asker, Reader
from app.reply import EVENTS, FAILED, Responses, errors
from app.runs import frames
from app.runs.job import AnswerJob
from app.runs.live import Status
from app.runs.schemas import RunList, RunObject
from app.runs.serving import RUN_ID, answer
from app.runs.ticket import IdempotencyKey, Ticket
from app.schemas import AnswerRequest, AnswerResponse
from app.service import At
from app.stream import EventStream

router = APIRouter(responses=FAILED | errors(401, 403, 429, 503))
_ANSWERED: Responses = {
    200: {
        "description": "The answer. With `stream`, trace events as they happen, then the event `answer`. Meanwhile "
        "events `delta` have the words of a call as the model writes them: they have no id and are never replayed, "
        "since the event `asked` has them all.",
        "headers": RUN_ID,
        "content": EVENTS,
    },
    202: {"description": "The run, which goes on in the background.", "headers": RUN_ID, "model": RunObject},
    **errors(400, 404, 409, 413, 415, 422, 500, 507),
}
_FOLLOWED: Responses = {
    200: {"description": "Events from the first or from after `Last-Event-ID` on.", "content": EVENTS},
    204: {"description": "There are no more: the last of them was seen."},
    **errors(400, 404),
}
_LastSeen = Annotated[int, Header(alias="last-event-id", ge=0, lt=2**31, description="Number of the last event seen.")]


@router.post("/v1/answers", response_model=AnswerResponse, responses=_ANSWERED)
async def ask(
    body: AnswerRequest, request: Request, at: At, by: Asker, idempotency_key: IdempotencyKey = None
) -> Response:
    """Answer a question about a video: now, as server-sent events with `stream`, or later with `background`."""
    ticket = await Ticket.of(request, idempotency_key, background=body.background, streamed=body.stream)
    live = await at.runs.start(AnswerJob(body), by, ticket)
    headers = {"x-run-id": live.id}
    if body.background:
        shown = await at.history.show(by.tenant, live.id)
        return JSONResponse(shown.model_dump(mode="json"), 202, headers)
    if body.stream:
        sent = frames.frames(live, ticket.quiet(at.settings.ping_seconds))
        return EventStream(sent, frames.failed, watch=at.runs.awaited(live, ticket), headers=headers)
    return JSONResponse(await answer(at.runs, live, ticket, request), headers=headers)


@router.get("/v1/runs", tags=["runs"], responses=errors(400, 404))
async def runs(
    at: At,
    by: Reader,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    after: Annotated[str | None, Query(description="Id of the last run of the page before.")] = None,
    order: Literal["asc", "desc"] = "desc",
    status: Status | None = None,
) -> RunList:
    """The runs of the key's tenant, newest first unless told otherwise."""
    return await at.history.page(by.tenant, limit=limit, after=after, order=order, status=status)


@router.get("/v1/runs/{run_id}", tags=["runs"], responses=errors(404))
async def run(run_id: str, at: At, by: Reader) -> RunObject:
    """A run with its request, its whole trace, and its response."""
    return await at.history.show(by.tenant, run_id)


@router.get("/v1/runs/{run_id}/events", tags=["runs"], responses=_FOLLOWED, response_class=Response)
async def events(run_id: str, at: At, by: Reader, last_seen: _LastSeen = 0) -> Response:
    """What has happened in a run, then what happens, as server-sent events; the last is `answer` or `error`."""
    last = await at.history.last(by.tenant, run_id)
    if last is not None and last_seen >= last:
        return Response(status_code=204)
    sent = at.history.follow(by.tenant, run_id, last_seen, at.settings.ping_seconds)
    return EventStream(sent, frames.failed, headers={"x-run-id": run_id})


@router.post("/v1/runs/{run_id}/cancel", tags=["runs"], responses=errors(404, 409))
async def cancel(run_id: str, at: At, by: Asker) -> RunObject:
    """End a run. One that is over stays as it is."""
    await at.history.last(by.tenant, run_id)
    if live := at.runs.live.get(by.tenant, run_id):
        await at.runs.cancel(live)
    return at.history.ended(await at.history.show(by.tenant, run_id))


@router.post("/v1/runs/{run_id}/resume", status_code=202, tags=["runs"], responses=errors(400, 404, 409, 507))
async def resume(run_id: str, request: Request, at: At, by: Asker) -> RunObject:
    """Begin a run again that was interrupted, cancelled or failed: from its beginning, in the background.

    The request and the seed are the same, so the same frames are looked at and the same samples drawn, as far as the
    model itself repeats itself; what is still in caches is not paid for twice. The run keeps its id and its trace.
    """
    await at.runs.resume(await at.history.reopen(by, run_id, request.state.request_id))
    return await at.history.show(by.tenant, run_id)
