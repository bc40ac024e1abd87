"""The routes of indexes and of search."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from app.dependencies import CanAsk, CanRead, CanUpload, ServiceDep
from app.errors import ERROR_RESPONSE, error_responses
from app.indexes.schemas import DeletedIndex, HitList, IndexList, IndexObject, IndexRequest, SearchRequest

router = APIRouter(tags=["indexes"], responses=ERROR_RESPONSE | error_responses(401, 403, 429, 503))


@router.post("/v1/indexes", status_code=202, responses=error_responses(400, 404, 413, 415, 422, 424))
async def build(
    body: IndexRequest, request: Request, response: Response, service: ServiceDep, caller: CanAsk
) -> IndexObject:
    """Caption a video from end to end, in the background; ask again to see how far it is. Existing captions are kept.

    After a failure, a limit, or a restart of the service, the same request goes on where it ended.
    """
    shown = await service.indexes.build(body, caller, request.state.request_id)
    if shown.status == "complete":
        response.status_code = 200
    return shown


@router.get("/v1/indexes")
async def list_indexes(service: ServiceDep, caller: CanRead) -> IndexList:
    """The indexes of the key's tenant, the oldest first."""
    return await service.indexes.list(caller)


@router.get("/v1/indexes/{index_id}", responses=error_responses(404))
async def index(index_id: str, service: ServiceDep, caller: CanRead) -> IndexObject:
    """An index: progress, contents, cost."""
    return await service.indexes.get(index_id, caller)


@router.delete("/v1/indexes/{index_id}", responses=error_responses(404))
async def delete(index_id: str, service: ServiceDep, caller: CanUpload) -> DeletedIndex:
    """Delete the index of a video; a running build is cancelled."""
    await service.indexes.delete(index_id, caller)
    return DeletedIndex(id=index_id)


@router.post("/v1/search", responses=error_responses(400, 404, 413, 415, 422, 424))
async def search(body: SearchRequest, service: ServiceDep, caller: CanRead) -> HitList:
    """Find the seconds of a video, or of all videos that are indexed, by what is seen or said there."""
    return await service.indexes.search(body, caller)
