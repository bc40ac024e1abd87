"""The indexes of all tenants: which one belongs to a film, and what is in it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from agents.captioning import Captioning
from agents.embedders import open_embedder
from agents.engine import Engine
from app.caller import Caller
from app.errors import Missing
from app.files.library import Library
from app.indexes.settings import IndexSettings
from app.schemas import Source
from app.settings import Settings
from tools.clips import clips, levels
from tools.footage import Footage
from tools.index import Builder, Index, Line
from tools.index.archive import Archive
from tools.index.card import Card
from tools.video import Video

_LOG = logging.getLogger("secondlook")
_DAY = 24 * 3600.0
_INLINE = "data:"


@dataclass(frozen=True, slots=True)
class Level:
    """How far the captioning of clips of so many seconds has come."""

    seconds: float
    clips: int
    captioned: int
    failed: int


@dataclass(frozen=True, slots=True)
class State:
    """What is in an index: captions by level, subtitles, bytes on the disk, what it took."""

    levels: tuple[Level, ...]
    subtitles: int
    bytes: int
    cost: dict[str, float]

    @property
    def whole(self) -> bool:
        """Whether nothing is left to be done."""
        return all(level.captioned + level.failed == level.clips for level in self.levels)


class Indexes:
    """Every tenant's indexes, made by one embedder. Close them at the end."""

    def __init__(self, settings: Settings) -> None:
        self.settings: IndexSettings = settings.index
        key = self.settings.embedder_key
        self.archive = Archive(
            settings.data_dir / "indexes",
            open_embedder(self.settings.embedder, api_key=key.get_secret_value() if key else None),
            memory=self.settings.memory_bytes,
            most=self.settings.max_lines,
            room=self.settings.max_bytes,
        )

    @property
    def captioning(self) -> Captioning:
        """How clips are captioned."""
        return self.settings.captioning

    def builder(self, engine: Engine) -> Builder:
        """What makes indexes now."""
        return self.captioning.builder(engine, self.archive.embedder)

    def opener(self, caller: Caller, footage: Footage, source: Source, engine: Engine) -> Callable[[], Index] | None:
        """What opens the caller's index of a film; None for single pictures."""
        return partial(self.open, caller, footage, source, engine) if isinstance(footage, Video) else None

    def open(self, caller: Caller, video: Video, source: Source, engine: Engine) -> Index:
        """The caller's index of a film; nothing is read or written before it is used."""
        index = self.archive.open(caller.tenant, video.id, video.span.end, self.builder(engine), _label(source))
        index.listen(partial(lines, video))
        return index

    async def card(self, caller: Caller, id_: str) -> Card:
        """A caller's index by its id. Raises Missing."""
        cards = await asyncio.to_thread(self.archive.cards, caller.tenant)
        card = next((card for card in cards if card.id == id_), None)
        if card is None:
            raise Missing(f"There is no index {id_!r}. Build one with POST /v1/indexes.", param="index")
        return card

    def state(self, card: Card) -> State:
        """What is in an index. Blocks. Raises IndexDown."""
        tally = self.archive.tally(card)
        found = []
        for level in levels(card.duration, card.builder.clip_seconds):
            captioned = tally.lines.get(("caption", level), 0)
            failed = sum(clip.startswith(f"c:{level:g}:") for clip in tally.failures)
            found.append(Level(level, len(clips(card.duration, level)), captioned, failed))
        said, size = tally.lines.get(("subtitle", 0.0), 0), self.archive.bytes(card.tenant, card.id)
        return State(tuple(found), said, size, dict(tally.cost))

    async def delete(self, caller: Caller, id_: str) -> None:
        """Remove a caller's index. Raises Missing."""
        if not await asyncio.to_thread(self.archive.delete, caller.tenant, id_):
            await self.card(caller, id_)

    async def sweep(self, library: Library) -> None:
        """Remove the indexes that nobody opens, and those of files that are no longer there."""
        gone = await asyncio.to_thread(self.archive.sweep, self.settings.days * _DAY)
        for card in await asyncio.to_thread(self.archive.all):
            file = named(card).file
            if file is not None:
                try:
                    await library.get(file, Caller(card.tenant, key=""))
                except Missing:
                    await asyncio.to_thread(self.archive.delete, card.tenant, card.id)
                    gone.append(card)
        if gone:
            _LOG.info("%d indexes were removed: nobody opened them, or their file was deleted", len(gone))

    async def aclose(self) -> None:
        """Write down what makes the next opening quick."""
        await asyncio.to_thread(self.archive.close)


def named(card: Card) -> Source:
    """What its owner called a film."""
    return Source.model_validate_json(card.label)


def lines(video: Video, given: str | None = None) -> Sequence[Line]:
    """What is said in a film, as lines of its index. Blocks. Raises BadVideo, Stopped."""
    cues = video.subtitles(given)
    return [Line(f"s:{number}", cue.start, cue.end, cue.text, "subtitle") for number, cue in enumerate(cues)]


def _label(source: Source) -> str:
    """A film's name as JSON. What was sent within a request has none."""
    inline = source.url is not None and source.url.startswith(_INLINE)
    shown = Source(url=_INLINE) if inline else source
    return shown.model_dump_json(exclude_none=True)
