"""Pictures that are given one by one, brought together as one film."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path

from app.errors import BadRequest, TooLarge
from app.fetch.data_url import PICTURES, decode
from app.schemas import Still
from app.settings import Settings
from tools.cache import FrameCache
from tools.decoders import Decoder
from tools.slideshow import Slideshow

Hold = Callable[[str, str], AbstractAsyncContextManager[Path]]
"""The content of a URL as a file, for a tenant, while it is held."""
_PARAM = "video.pictures"


class Pictures:
    """Opens given pictures. Without `hold`, only those that are written out in data: URLs."""

    def __init__(self, settings: Settings, decoder: Decoder, cache: FrameCache, hold: Hold | None = None) -> None:
        self._settings = settings
        self._decoder = decoder
        self._cache = cache
        self._hold = hold

    async def open(self, stills: Sequence[Still], tenant: str) -> Slideshow:
        """All of them in order. Raises BadVideo, BadRequest, and what fetching raises."""
        most = self._settings.max_pictures
        if len(stills) > most:
            raise BadRequest(f"{len(stills)} pictures are more than {most}, the most that are taken.", param=_PARAM)
        pictures: list[bytes] = []
        for still in stills:
            pictures.append(await self._content(still.url, tenant))
            if sum(map(len, pictures)) > self._settings.max_question_bytes:
                largest = self._settings.max_question_bytes
                raise TooLarge(f"The pictures have more than {largest} bytes in all, the most.", param=_PARAM)
        times = [still.time for still in stills if still.time is not None]
        limits, decoder = self._settings.limits, self._decoder
        return await asyncio.to_thread(
            Slideshow.open, pictures, times or None, cache=self._cache, limits=limits, decoder=decoder
        )

    async def _content(self, url: str, tenant: str) -> bytes:
        if url[:5].lower() == "data:":
            return await asyncio.to_thread(decode, url, self._settings.max_question_bytes, PICTURES)
        if self._hold is None:
            raise BadRequest("Send pictures as data: URLs.", param=_PARAM, code="unsupported")
        async with self._hold(url, tenant) as path:
            if path.stat().st_size > self._settings.max_data_bytes:
                raise TooLarge(f"A picture is larger than {self._settings.max_data_bytes} bytes.", param=_PARAM)
            return await asyncio.to_thread(path.read_bytes)
