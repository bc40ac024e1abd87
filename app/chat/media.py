"""From the media of a conversation to the one source of a run: a film, or pictures that are shown as one."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from app.chat.conversation import Conversation, Shown
from app.chat.schemas import FilePart, ImagePart, VideoPart
from app.errors import BadRequest
from app.schemas import Source, Still

_PICTURES = "data:image/"
_FRAMES = "data:video/jpeg;base64,"
"""vLLM's way to send frames as a video: JPEG files in base64, with commas between them."""


def source(conversation: Conversation) -> tuple[Source, list[str]]:
    """The video that the conversation is about, and in words what of its form is lost. Raises BadRequest."""
    films = list(dict.fromkeys(_film(each) for each in conversation.shown if not _is_picture(each)))
    stills = [each for each in conversation.shown if _is_picture(each)]
    if not films and not stills:
        raise BadRequest(
            "Show something: a video_url, image_url or file part in a message of the user.",
            param="messages",
            code="missing_video",
        )
    if len(films) > 1 or (films and stills):
        what = "several videos" if len(films) > 1 else "a video and pictures"
        raise BadRequest(
            f"This conversation shows {what}; a question can be about one video, or about pictures.",
            param=next(each.param for each in reversed(conversation.shown)),
            code="several_videos",
        )
    if stills:
        return _slides(stills, conversation.scattered)
    return films[0], []


def _is_picture(shown: Shown) -> bool:
    medium = shown.medium
    if isinstance(medium, FilePart):
        return (medium.file.file_data or "").startswith(_PICTURES)
    return isinstance(medium, ImagePart)


def _film(shown: Shown) -> Source:
    medium = shown.medium
    if isinstance(medium, FilePart):
        return _file(medium, shown.param)
    if not isinstance(medium, VideoPart) or not medium.video_url.url:
        # What was fetched may be gone by now, so a uuid alone is always a miss, as vLLM calls it.
        raise BadRequest(
            "Cache miss: send the video's url again, with or without its uuid.",
            param=f"{shown.param}.video_url.url",
            code="cache_miss",
        )
    url = medium.video_url.url
    if url.startswith(_FRAMES):
        frames = url.removeprefix(_FRAMES).split(",")
        return Source(pictures=tuple(Still(url=f"data:image/jpeg;base64,{frame}") for frame in frames if frame))
    return Source(file=url) if url.startswith(("file_", "file-")) else Source(url=url, uuid=medium.uuid or None)


def _file(part: FilePart, param: str) -> Source:
    link = part.file
    if (link.file_id is None) == (link.file_data is None):
        raise BadRequest("Give either file_id or file_data.", param=f"{param}.file", code="missing_field")
    if link.file_id is not None:
        return Source(file=link.file_id)
    data = link.file_data or ""
    return Source(url=data if data.startswith("data:") else f"data:application/octet-stream;base64,{data}")


def _slides(stills: Sequence[Shown], scattered: bool) -> tuple[Source, list[str]]:
    """Pictures in order, at the seconds of their labels if those make sense."""
    times = [each.time for each in stills]
    known = [time for time in times if time is not None]
    labelled = len(known) == len(times) and all(earlier < later for earlier, later in pairwise(known))
    notes = []
    if known and not labelled:
        notes.append("pictures: not every one has a later label than the one before, so they are shown one a second")
    if scattered:
        notes.append("pictures: all are shown before the words that stand between them")
    pictures = [Still(url=_url(each), time=each.time if labelled else None) for each in stills]
    return Source(pictures=tuple(pictures)), notes


def _url(shown: Shown) -> str:
    medium = shown.medium
    url = medium.file.file_data if isinstance(medium, FilePart) else None
    if isinstance(medium, ImagePart):
        url = medium.image_url.url
    if not url:
        raise BadRequest("The picture has no url.", param=f"{shown.param}.image_url.url", code="missing_field")
    return url
