"""A file while it arrives, held to what its tenant may store and to the largest file that is taken."""

from __future__ import annotations

from collections import Counter

from app.errors import TooLarge
from app.files.incoming import Part


class Arriving:
    """Gives its bytes to a part. `room`: bytes that the tenant may still store, all its arriving files together.

    `on_their_way` counts these by tenant; leave when the file is stored or given up.
    """

    def __init__(self, part: Part, tenant: str, room: int | None, largest: int, on_their_way: Counter[str]) -> None:
        self.part = part
        self._tenant = tenant
        self._room = room
        self._largest = largest
        self._on_their_way = on_their_way
        self._counted = 0

    def expect(self, size: int) -> None:
        """Raise TooLarge if so many bytes more would be too many."""
        if self._counted + size > self._largest:
            raise TooLarge(f"The video is larger than {self._largest} bytes, the most that can be uploaded.")
        if self._room is not None and self._on_their_way[self._tenant] + size > self._room:
            raise no_room(self._room)

    def write(self, chunk: bytes) -> None:
        """Append; blocks. Raises TooLarge, StorageFull."""
        self.expect(len(chunk))
        self._counted += len(chunk)
        self._on_their_way[self._tenant] += len(chunk)
        self.part.write(chunk)

    def leave(self) -> None:
        """It is no longer on its way."""
        self._on_their_way[self._tenant] -= self._counted
        self._counted = 0


def no_room(room: int) -> TooLarge:
    """Why a file is not taken that a larger quota would let in."""
    return TooLarge(
        f"Only {room} bytes are left of what this key's tenant may store. Delete files, or wait until some expire.",
        code="storage_quota_exceeded",
    )
