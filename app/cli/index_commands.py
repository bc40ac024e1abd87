"""The commands `secondlook index` and `secondlook search`."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import aclosing, contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.box import SIMPLE
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from agents.core.trace import Event, ModelEvent, OnEvent
from agents.core.usage import RunUsage
from app.access.caller import LOCAL
from app.answers.schemas import VideoInput
from app.cli.terminal import exit_on_error
from app.errors import NotFound
from app.indexes.builds import BuildRequest, IndexBuilder
from app.indexes.manager import IndexManager, search_indexes
from app.indexes.schemas import HitList, IndexObject, SearchRequest
from app.indexes.service import index_object
from app.service import running_engine
from app.settings import Settings
from app.videos import VideoLoader, decoder_running, make_decoder
from tools.video.probe import file_sha256
from tools.video.subtitles import decode_text

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, as the service sends it.")]
_CAPTION_PURPOSES = frozenset({"caption", "summary"})


def index(
    video: Annotated[Path, typer.Argument(help="A video file.")],
    level: Annotated[float | None, typer.Option(help="Longest clips to caption, in seconds; without it, all.")] = None,
    subtitles: Annotated[Path | None, typer.Option(help="An .srt or .vtt file, in place of the video's own.")] = None,
    engine: Annotated[str | None, typer.Option("--engine", "--model", metavar="URL", help="What captions.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Caption a video from end to end, for search and for questions about long videos.

    What is there already is not done again; after Ctrl-C, the same command goes on.
    """
    with exit_on_error(as_json):
        wanted = {"engine": engine, "video_dir": Path(video.absolute().anchor)}
        settings = Settings(**{name: value for name, value in wanted.items() if value is not None})  # type: ignore[arg-type]
        given = None if subtitles is None else decode_text(_read_subtitles(subtitles))
        wish = BuildRequest(VideoInput(path=str(video.absolute())), level, given)
        shown = asyncio.run(_build(settings, wish))
    if as_json:
        typer.echo(shown.model_dump_json(indent=2))
    else:
        _show(Console(), shown)


def search(
    query: Annotated[str, typer.Argument(help="What is seen or said, in a few words.")],
    video: Annotated[Path | None, typer.Option(help="The video to look in; without it, all that are indexed.")] = None,
    k: Annotated[int, typer.Option("-k", min=1, help="Most hits.")] = 8,
    start: Annotated[float | None, typer.Option(help="Second from which on to look.")] = None,
    end: Annotated[float | None, typer.Option(help="Second until which to look.")] = None,
    level: Annotated[float | None, typer.Option(help="Only captions of clips of so many seconds.")] = None,
    source: Annotated[list[str] | None, typer.Option(help="caption, subtitle or ocr; without it, all.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Find the seconds of indexed videos by what is seen or said there."""
    with exit_on_error(as_json):
        wanted = {"k": k, "start": start, "end": end, "level": level, "sources": source}
        asked = {name: value for name, value in wanted.items() if value is not None}
        request = SearchRequest.model_validate({"query": query, **asked})
        found = asyncio.run(_search(Settings(), request, video))
    if as_json:
        typer.echo(found.model_dump_json(indent=2))
    else:
        _show_hits(Console(), found, with_video=video is None)


async def _build(settings: Settings, wish: BuildRequest) -> IndexObject:
    decoder = make_decoder(settings)
    async with (
        decoder_running(decoder, settings),
        running_engine(settings) as engine,
        aclosing(IndexManager(settings)) as indexes,
    ):
        work = IndexBuilder(indexes, VideoLoader(settings, decoder))
        id_, lacking = await work.prepare(wish, LOCAL, engine)
        if lacking:
            with _progress(lacking) as listener:
                await work.build(wish, LOCAL, engine, RunUsage(), listener)
        card = await indexes.metadata(LOCAL, id_)
        state = await asyncio.to_thread(indexes.state, card)
        return index_object(card, state, None, indexes.builder(engine))


async def _search(settings: Settings, request: SearchRequest, video: Path | None) -> HitList:
    async with aclosing(IndexManager(settings)) as indexes:
        if video is not None:
            request = request.model_copy(update={"index": await _index_of(indexes, video)})
        return await search_indexes(indexes, request, LOCAL)


async def _index_of(indexes: IndexManager, video: Path) -> str:
    """The newest index of the video in a file, by its content."""
    content = await asyncio.to_thread(_digest, video)
    cards = await asyncio.to_thread(indexes.archive.list_indexes, LOCAL.tenant)
    found = [card.id for card in cards if card.video == content]
    if not found:
        raise NotFound(f"There is no index of {video}. Build one: secondlook index {video}", param="video")
    return found[-1]


@contextmanager
def _progress(clips: int) -> Iterator[OnEvent]:
    """Show on stderr how many captions are written, and the last of them."""
    columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), TextColumn("{task.description}", markup=False))
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("", total=clips)

        def hear(event: Event) -> None:
            if isinstance(event, ModelEvent) and event.purpose in _CAPTION_PURPOSES:
                bar.update(task, advance=1, description=" ".join(event.replies[0].split())[:60])

        yield hear


def _show(console: Console, shown: IndexObject) -> None:
    table = Table.grid(padding=(0, 2))
    for level in shown.levels:
        failed = f", {level.failed} could not be captioned" if level.failed else ""
        words = f"{level.captioned} of {level.clips} captioned{failed}"
        table.add_row(Text(f"clips of {level.seconds:g} s", style="dim"), Text(words))
    cost = shown.cost
    tokens = cost.prompt_tokens + cost.completion_tokens
    table.add_row(Text("subtitles", style="dim"), Text(f"{shown.subtitles} lines"))
    table.add_row(
        Text("took", style="dim"),
        Text(f"{cost.calls} calls, {cost.frames} frames, {tokens} tokens, {cost.seconds:.1f} s"),
    )
    table.add_row(Text("on the disk", style="dim"), Text(f"{shown.bytes / 1e6:.1f} MB"))
    console.print(Text(f"{shown.status}: {shown.id}", style="bold"))
    console.print(table)


def _show_hits(console: Console, found: HitList, *, with_video: bool) -> None:
    table = Table("seconds", "score", "from", box=SIMPLE)
    table.add_column("text", overflow="fold", min_width=40)
    if with_video:
        table.add_column("video", overflow="ellipsis", no_wrap=True)
    for hit in found.data:
        where = Path(hit.video.path).name if hit.video.path else hit.video.file or hit.video.url or ""
        cells = [f"{hit.start:.1f}–{hit.end:.1f}", f"{hit.score:.2f}", hit.source]
        table.add_row(*cells, Text(hit.text), *([Text(where)] if with_video else []))
    console.print(table if found.data else Text("Nothing was found."))
    for reason in found.degraded:
        console.print(Text(reason, style="yellow"))


def _read_subtitles(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise NotFound(f"{file} cannot be read: {error.strerror}.", param="subtitles") from error


def _digest(file: Path) -> str:
    try:
        return file_sha256(file)
    except OSError as error:
        raise NotFound(f"{file} cannot be read: {error.strerror}.", param="video") from error
