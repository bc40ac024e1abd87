"""API keys: create, list, rotate, revoke, and authenticate requests with them."""

from __future__ import annotations

import hashlib
import hmac
import math
import re
import secrets
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.access.caller import ALL_SCOPES, LOCAL, Caller, KeyScope, Quota
from app.db.session import Database
from app.db.tables import KeyRecord
from app.errors import NotFound, Unauthorized

Clock = Callable[[], float]
_KEY = re.compile(r"sl_([0-9a-f]{12})_[\w-]{43}", re.ASCII)


@dataclass(frozen=True, slots=True)
class NewKey:
    """A new key and its secret, which is shown only once."""

    record: KeyRecord
    secret: str


class KeyStore:
    """The API keys of one service. `bootstrap` is a key that the operator chose, for the tenant "local".

    `quota` is what a key may take unless it was made with another. With no key of any kind, the service is open and
    everybody is the tenant "local"; once there has been one, even a revoked one, it never is. What was read is trusted
    for `trust` seconds, so what another process changes is heeded after that; but nobody is refused unread.
    """

    def __init__(
        self,
        records: Database,
        quota: Quota,
        bootstrap: str | None = None,
        clock: Clock = time.time,
        *,
        cache_seconds: float = 0.0,
    ) -> None:
        self._records = records
        self._quota = quota
        self._bootstrap = bootstrap and _digest(bootstrap)
        self._clock = clock
        self._trust = cache_seconds
        self._closed = bootstrap is not None
        self._opened_at = -math.inf
        self._read: dict[str, tuple[float, KeyRecord]] = {}
        self._anybody = replace(LOCAL, quota=quota.model_copy(update={"requests_per_minute": None}))

    async def authenticate(self, secret: str | None) -> Caller:
        """The caller that a secret belongs to. Raises Unauthorized."""
        digest = _digest(secret or "")
        if self._bootstrap and hmac.compare_digest(digest, self._bootstrap):
            return replace(LOCAL, key="bootstrap", quota=self._quota)
        match = _KEY.fullmatch(secret or "")
        if match is None and self._closed:
            raise _unknown(secret)
        key_id = match[1] if match else ""
        record = self._remembered(key_id)
        if not self._fresh(self._opened_at) and (record is None or not self._good(record, digest)):
            record = await self._look_up(key_id)
        if not self._closed:
            return self._anybody
        if record is None or not self._good(record, digest):
            raise _unknown(secret)
        return self._known(record)

    async def find(self, key_id: str) -> Caller | None:
        """The caller with this key id; None if the key is no longer valid. For work that outlives its request."""
        if key_id in ("bootstrap", LOCAL.key):
            return replace(LOCAL, key=key_id, quota=self._quota)
        record = await self._records.read(lambda session: session.get(KeyRecord, key_id))
        return self._known(record) if record and self._live(record) else None

    def any_exist(self) -> bool:
        """Whether any key exists or ever existed. Blocks."""
        return self._closed or self._records.read_sync(_any_key)

    def create(
        self,
        tenant: str,
        *,
        note: str = "",
        scopes: Collection[KeyScope] = ALL_SCOPES,
        quota: dict[str, Any] | None = None,
        seconds: float | None = None,
    ) -> NewKey:
        """Create a key that is valid for so many seconds. Blocks. `quota` holds what differs from the settings."""
        key_id, now = secrets.token_hex(6), self._clock()
        secret = _secret(key_id)
        record = KeyRecord(
            id=key_id,
            tenant=tenant,
            note=note,
            scopes=sorted(scopes),
            quota=Quota(**quota or {}).model_dump(exclude_unset=True),
            digest=_digest(secret),
            created_at=now,
            expires_at=None if seconds is None else now + seconds,
        )
        self._changed(lambda session: session.merge(record))
        return NewKey(record, secret)

    def list(self) -> list[KeyRecord]:
        """All keys, oldest first. Blocks."""
        return self._records.read_sync(lambda session: list(session.scalars(select(KeyRecord).order_by("created_at"))))

    def rotate(self, key_id: str, grace: float) -> NewKey:
        """Give a key a new secret; the old one stays valid for `grace` seconds. Blocks. Raises NotFound."""
        secret = _secret(key_id)

        def change(session: Session) -> KeyRecord:
            record = self._revocable(session, key_id)
            record.old_digest, record.digest = record.digest, _digest(secret)
            record.old_until = self._clock() + grace
            return record

        return NewKey(self._changed(change), secret)

    def revoke(self, key_id: str) -> KeyRecord:
        """Revoke a key now. Blocks. Raises NotFound."""

        def change(session: Session) -> KeyRecord:
            record = self._revocable(session, key_id)
            record.revoked_at = self._clock()
            return record

        return self._changed(change)

    def state(self, record: KeyRecord) -> str:
        """active, expired or revoked."""
        if record.revoked_at is not None:
            return "revoked"
        return "active" if self._live(record) else "expired"

    def _remembered(self, key_id: str) -> KeyRecord | None:
        read_at, record = self._read.get(key_id, (-math.inf, None))
        return record if self._fresh(read_at) else None

    def _fresh(self, read_at: float) -> bool:
        return 0 <= self._clock() - read_at < self._trust

    def _changed(self, work: Callable[[Session], KeyRecord]) -> KeyRecord:
        """Change the database and clear the cache of keys."""
        record = self._records.write_sync(work)
        self._read.clear()
        self._opened_at = -math.inf
        return record

    async def _look_up(self, key_id: str) -> KeyRecord | None:
        """Read the key from the database. Only existing keys are cached, so guessing fills no memory."""
        began = self._clock()
        record, self._closed = await self._records.read(
            lambda session: (session.get(KeyRecord, key_id), self._closed or _any_key(session))
        )
        self._opened_at = -math.inf if self._closed else began
        if record is not None:
            self._read[key_id] = began, record
        return record

    def _known(self, record: KeyRecord) -> Caller:
        quota = self._quota.model_copy(update=record.quota)
        return Caller(record.tenant, record.id, frozenset(ALL_SCOPES & set(record.scopes)), quota)

    def _live(self, record: KeyRecord) -> bool:
        return record.revoked_at is None and (record.expires_at is None or self._clock() < record.expires_at)

    def _good(self, record: KeyRecord, digest: str) -> bool:
        good = hmac.compare_digest(digest, record.digest)
        if record.old_digest and record.old_until and self._clock() < record.old_until:
            good |= hmac.compare_digest(digest, record.old_digest)
        return good and self._live(record)

    def _revocable(self, session: Session, key_id: str) -> KeyRecord:
        record = session.get(KeyRecord, key_id)
        if record is None or record.revoked_at is not None:
            raise NotFound(f"There is no key {key_id!r} that is not revoked. `secondlook keys list` shows all.")
        return record


def _any_key(session: Session) -> bool:
    return session.scalar(select(KeyRecord.id).limit(1)) is not None


def _secret(key_id: str) -> str:
    return f"sl_{key_id}_{secrets.token_urlsafe(32)}"


def _digest(secret: str) -> str:
    """A plain hash is enough: nobody guesses 256 random bits, however fast they can try."""
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).hexdigest()


def _unknown(secret: str | None) -> Unauthorized:
    if secret is None:
        return Unauthorized("Send an API key: Authorization: Bearer KEY.", code="missing_api_key")
    return Unauthorized("This API key is not valid: unknown, expired or revoked.")
