"""The files of all tenants: store, list, read, delete and expire them."""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Literal
from uuid import uuid4

from sqlalchemy import ColumnElement, delete, func, or_, select, tuple_
from sqlalchemy.orm import Session

from app.access.caller import Caller
from app.db.session import Database, DatabaseFull
from app.db.tables import BlobRecord, FileRecord
from app.errors import NotFound, StorageUnavailable, TooLarge
from app.files.blobs import BlobStore
from app.files.schemas import UploadOptions
from app.files.upload import QuotaWriter, SpooledFile, UploadSpool, storage_quota_error

_LOG = logging.getLogger("secondlook")
_SWEEP_BATCH = 1000
SortOrder = Literal["asc", "desc"]
_FILE_ID = re.compile(r"file_[0-9a-f]{32}", re.ASCII)


class FileStore:
    """The files of all tenants. A tenant sees only its own files, even if others have the same content."""

    def __init__(
        self,
        records: Database,
        blobs: BlobStore,
        incoming: UploadSpool,
        largest: int,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._records = records
        self._blobs = blobs
        self._incoming = incoming
        self._largest = largest
        self._clock = clock
        self._on_their_way: Counter[str] = Counter()

    @asynccontextmanager
    async def receive(self, caller: Caller) -> AsyncIterator[QuotaWriter]:
        """Open a temporary file for an upload; it is deleted unless added. Raises TooLarge, StorageFull."""
        room = await self._records.read(lambda session: self._room(session, caller))
        with self._incoming.file() as part:
            arriving = QuotaWriter(part, caller.tenant, room, self._largest, self._on_their_way)
            try:
                yield arriving
            finally:
                arriving.release()

    async def add(self, part: SpooledFile, video: dict[str, Any], wish: UploadOptions, caller: Caller) -> FileRecord:
        """Store an upload durably as a file of the caller's tenant.

        Raises TooLarge if the tenant's storage quota is used up, StorageFull, StorageUnavailable, DatabaseUnavailable.
        """
        name, now = uuid4().hex, self._clock()
        file = FileRecord(
            id=f"file_{uuid4().hex}",
            tenant=caller.tenant,
            blob=name,
            filename=wish.filename,
            purpose=wish.purpose,
            bytes=part.size,
            video=video,
            created_at=now,
            expires_at=wish.expires_at(now, caller.quota.file_seconds),
        )
        blob = BlobRecord(name=name, digest=part.digest, bytes=part.size, created_at=now)
        await asyncio.to_thread(part.finish)
        await self._blobs.put(part, name)
        try:
            kept = await self._records.write(lambda session: self._add(session, file, blob, caller))
        except (TooLarge, DatabaseFull):  # after any other error the record may be there, so the content stays
            await self._blobs.remove([name])
            raise
        if kept.blob != name:
            await self._blobs.remove([name])
        return kept

    async def get(self, file_id: str, caller: Caller) -> FileRecord:
        """What is known of a file. Raises NotFound."""
        return await self._records.read(lambda session: self._find(session, file_id, caller))

    async def page(
        self, caller: Caller, *, limit: int, after: str | None, order: SortOrder, purpose: str | None
    ) -> tuple[Sequence[FileRecord], bool]:
        """Files by creation time after the one named, and whether there are more. Raises NotFound."""

        def find(session: Session) -> Sequence[FileRecord]:
            place = tuple_(FileRecord.created_at, FileRecord.id)
            query = select(FileRecord).where(*self._visible(caller)).limit(limit + 1)
            if purpose is not None:
                query = query.where(FileRecord.purpose == purpose)
            if after is not None:
                last = self._find(session, after, caller)
                here = tuple_(last.created_at, last.id)
                query = query.where(place > here if order == "asc" else place < here)
            ways = (each.asc() if order == "asc" else each.desc() for each in (FileRecord.created_at, FileRecord.id))
            return session.scalars(query.order_by(*ways)).all()

        found = await self._records.read(find)
        return found[:limit], len(found) > limit

    async def delete(self, file_id: str, caller: Caller) -> None:
        """Delete a file, and its content if no other file has it. Raises NotFound."""

        def forget(session: Session) -> list[str]:
            return _delete_files(session, [self._find(session, file_id, caller)])

        await self._blobs.remove(await self._records.write(forget))

    @asynccontextmanager
    async def open(self, file_id: str, caller: Caller) -> AsyncIterator[Path]:
        """Open the content of a file on the local disk. Raises NotFound, StorageUnavailable."""
        file = await self.get(file_id, caller)
        async with AsyncExitStack() as stack:
            try:
                path = await stack.enter_async_context(self._blobs.open(file.blob))
            except FileNotFoundError:
                await self.get(file_id, caller)  # or it was deleted just now
                _LOG.error("the content %s of the file %s is lost", file.blob, file_id)
                raise StorageUnavailable("The content of this file is lost.") from None
            yield path

    async def sweep(self) -> None:
        """Delete expired files."""

        def expire(session: Session) -> list[str]:
            over = FileRecord.expires_at <= self._clock()
            return _delete_files(session, session.scalars(select(FileRecord).where(over).limit(_SWEEP_BATCH)).all())

        while gone := await self._records.write(expire):
            await self._blobs.remove(gone)

    async def remove_orphans(self) -> None:
        """Delete contents without a record, and unfinished uploads of dead processes."""
        await asyncio.to_thread(self._incoming.sweep)
        known = await self._records.read(lambda session: session.scalars(select(BlobRecord.name)).all())
        await self._blobs.sweep(known)

    def _visible(self, caller: Caller) -> tuple[ColumnElement[bool], ...]:
        in_time = or_(FileRecord.expires_at.is_(None), FileRecord.expires_at > self._clock())
        return FileRecord.tenant == caller.tenant, in_time

    def _find(self, session: Session, file_id: str, caller: Caller) -> FileRecord:
        query = select(FileRecord).where(FileRecord.id == file_id, *self._visible(caller))
        file = session.scalar(query) if _FILE_ID.fullmatch(file_id) else None
        if file is None:
            raise NotFound(f"There is no file {file_id!r}. Upload one to /v1/files.", param="video")
        return file

    def _room(self, session: Session, caller: Caller) -> int | None:
        """Bytes left of the tenant's storage quota; None if there is no limit."""
        if caller.quota.storage_bytes is None:
            return None
        used = session.scalar(select(func.sum(FileRecord.bytes)).where(*self._visible(caller))) or 0
        return max(0, caller.quota.storage_bytes - int(used))

    def _add(self, session: Session, file: FileRecord, blob: BlobRecord, caller: Caller) -> FileRecord:
        room = self._room(session, caller)
        if room is not None and blob.bytes > room:
            raise storage_quota_error(room)
        there = session.scalar(select(BlobRecord.name).where(BlobRecord.digest == blob.digest))
        if there is None:
            session.merge(blob)
            session.flush()
        file.blob = there or blob.name
        return session.merge(file)


def _delete_files(session: Session, files: Sequence[FileRecord]) -> list[str]:
    """Delete records of files; returns the names of contents that no file refers to any more."""
    blobs = {file.blob for file in files}
    for file in files:
        session.delete(file)
    session.flush()
    used = set(session.scalars(select(FileRecord.blob).where(FileRecord.blob.in_(blobs))))
    session.execute(delete(BlobRecord).where(BlobRecord.name.in_(blobs - used)))
    return sorted(blobs - used)
