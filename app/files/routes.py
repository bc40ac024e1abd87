"""The routes under /v1/files."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any, get_args

from fastapi import APIRouter, Query, Request
from starlette.responses import FileResponse, Response
from starlette.types import Receive, Scope, Send

from app.access.caller import Caller
from app.dependencies import CanRead, CanUpload, ServiceDep
from app.errors import ERROR_RESPONSE, error_responses
from app.files.schemas import DeletedFile, FileList, FileObject, Purpose, UploadOptions, VideoInfo
from app.files.store import FileStore, SortOrder
from app.files.upload import MultipartUpload

UPLOAD_ROUTE = ("POST", "/v1/files")
_ANCHOR, _SECONDS = "expires_after[anchor]", "expires_after[seconds]"
_FIELDS: dict[str, dict[str, Any]] = {
    "purpose": {"type": "string", "enum": get_args(Purpose)},
    _ANCHOR: {"type": "string", "enum": ["created_at"]},
    _SECONDS: {"type": "integer", "minimum": 3600, "maximum": 2_592_000},
}
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
                        **_FIELDS,
                    },
                    "dependentRequired": {_ANCHOR: [_SECONDS], _SECONDS: [_ANCHOR]},
                    "additionalProperties": False,
                }
            }
        },
    }
}
_CONTENT: dict[int | str, dict[str, Any]] = {
    200: {"content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}}
}
router = APIRouter(prefix="/v1/files", tags=["files"], responses=ERROR_RESPONSE | error_responses(401, 403, 429, 503))


@router.post("", responses=error_responses(400, 408, 413, 415, 422, 507), openapi_extra=_FORM)
async def upload(request: Request, service: ServiceDep, caller: CanUpload) -> FileObject:
    """Keep a video. The same one again is another file."""
    spare = service.settings.max_body_bytes
    form = MultipartUpload(request.headers.get("content-type", ""), spare, _FIELDS)
    declared = request.headers.get("content-length", "")
    async with service.files.receive(caller) as arriving:
        arriving.check(max(0, int(declared) - spare) if declared.isdecimal() else 0)
        async for piece in form.read(request.stream(), service.settings.idle_seconds):
            await asyncio.to_thread(arriving.write, piece)
        wish = UploadOptions.of(form.filename, form.fields)
        info = await service.videos.probe(arriving.part.path)
        video = VideoInfo.of(info).model_dump(mode="json")
        return FileObject.of(await service.files.add(arriving.part, video, wish, caller))


@router.get("", responses=error_responses(400, 404))
async def list_files(
    service: ServiceDep,
    caller: CanRead,
    limit: Annotated[int, Query(ge=1, le=10_000)] = 100,
    after: Annotated[str | None, Query(description="Id of the last file of the page before.")] = None,
    order: SortOrder = "desc",
    purpose: Purpose | None = None,
) -> FileList:
    """The files of the key's tenant, newest first unless told otherwise."""
    found, more = await service.files.page(caller, limit=limit, after=after, order=order, purpose=purpose)
    return FileList.of([FileObject.of(each) for each in found], more)


@router.get("/{file_id}", responses=error_responses(404))
async def retrieve(file_id: str, service: ServiceDep, caller: CanRead) -> FileObject:
    """What is known of a file."""
    return FileObject.of(await service.files.get(file_id, caller))


@router.get("/{file_id}/content", responses=_CONTENT | error_responses(404), response_class=Response)
async def content(file_id: str, service: ServiceDep, caller: CanRead) -> Response:
    """The bytes of a file, or the range of them that is asked for."""
    file = await service.files.get(file_id, caller)
    return StoredFileResponse(service.files, caller, file.id, file.filename)


@router.delete("/{file_id}", responses=error_responses(404))
async def delete(file_id: str, service: ServiceDep, caller: CanUpload) -> DeletedFile:
    """Delete a file."""
    await service.files.delete(file_id, caller)
    return DeletedFile(id=file_id)


class StoredFileResponse(Response):
    """A file's content, kept open until it is sent. Sent as an attachment, so that browsers neither show nor run it."""

    def __init__(self, library: FileStore, caller: Caller, file_id: str, filename: str) -> None:
        super().__init__()
        self._library = library
        self._caller = caller
        self._file_id = file_id
        self._filename = filename

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with self._library.open(self._file_id, self._caller) as path:
            headers = {"x-content-type-options": "nosniff"}
            kind = "application/octet-stream"
            response = FileResponse(path, media_type=kind, filename=self._filename, headers=headers)
            await response(scope, receive, send)
