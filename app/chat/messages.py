"""Reads chat messages: instructions, earlier turns, the question, and the video or pictures in them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from agents.core.question import HistoryTurn
from app.answers.schemas import PictureInput, VideoInput
from app.chat.schemas import AudioPart, ChatMessage, ContentPart, FilePart, ImagePart, TextPart, VideoPart
from app.errors import BadRequest

MediaPart = ImagePart | VideoPart | FilePart
_LABEL = re.compile(r"\s*<\s*(\d+(?:\.\d+)?)\s*(?:s|sec|seconds?)\s*>\s*:?\s*", re.IGNORECASE)
_INSTRUCTING = ("system", "developer")


@dataclass(frozen=True, slots=True)
class AttachedMedia:
    """A picture, video or file, its place in the request, and the time in the label before it, if any."""

    part: MediaPart
    param: str
    time: float | None = None


@dataclass(frozen=True, slots=True)
class ParsedMessages:
    """What was said. `shown` is all media of the user's turns; `scattered`: words stand between pictures."""

    instructions: str
    history: tuple[HistoryTurn, ...]
    question: str
    media: tuple[AttachedMedia, ...]
    interleaved: bool


def parse_messages(messages: Sequence[ChatMessage]) -> ParsedMessages:
    """Parse a conversation. The user's last turn is the question. Raises BadRequest."""
    _check_roles(messages)
    told = [_text(message) for message in messages if message.role in _INSTRUCTING]
    turns = [message for message in messages if message.role not in _INSTRUCTING]
    asked = len(turns)
    while asked and turns[asked - 1].role == "user":
        asked -= 1
    if asked == len(turns):
        raise BadRequest("The last message must be the user's, with the question.", param="messages")
    question = _joined(_text(message) for message in turns[asked:])
    if not question:
        raise BadRequest("The user's last message has no words: ask something.", param="messages")
    return ParsedMessages(
        instructions=_joined(told),
        history=tuple(_turn(message) for message in turns[:asked] if _text(message)),
        question=question,
        media=tuple(each for at, message in enumerate(messages) for each in _media_items(at, message)),
        interleaved=any(_scattered(message.content) for message in messages),
    )


def _check_roles(messages: Sequence[ChatMessage]) -> None:
    for at, message in enumerate(messages):
        if message.role in ("tool", "function"):
            raise BadRequest(
                f"A message of a {message.role} makes no sense here: this service never calls the client's tools.",
                param=f"messages.{at}.role",
                code="unsupported_role",
            )
        for number, part in enumerate(message.content):
            param = f"messages.{at}.content.{number}"
            if isinstance(part, AudioPart):
                raise BadRequest("Sound is not supported: send text and video.", param=param, code="unsupported_audio")
            if message.role != "user" and not isinstance(part, TextPart):
                raise BadRequest("Only the user can show something.", param=param, code="unsupported_content")


def _turn(message: ChatMessage) -> HistoryTurn:
    return HistoryTurn(role="assistant" if message.role == "assistant" else "user", text=_text(message))


def _text(message: ChatMessage) -> str:
    """The words of a message, without labels of pictures."""
    parts = message.content
    return _joined(
        part.text for at, part in enumerate(parts) if isinstance(part, TextPart) and _label(parts, at) is None
    )


def _joined(texts: Iterator[str] | Sequence[str]) -> str:
    return "\n".join(stripped for text in texts if (stripped := text.strip()))


def _label(parts: Sequence[ContentPart], at: int) -> float | None:
    """The time, in seconds, if a text is the label of the picture after it; else None."""
    part = parts[at]
    if not isinstance(part, TextPart) or at + 1 == len(parts) or not isinstance(parts[at + 1], ImagePart):
        return None
    return float(found[1]) if (found := _LABEL.fullmatch(part.text)) else None


def _media_items(at: int, message: ChatMessage) -> Iterator[AttachedMedia]:
    parts = message.content
    for number, part in enumerate(parts):
        if isinstance(part, ImagePart | VideoPart | FilePart):
            time = _label(parts, number - 1) if number else None
            yield AttachedMedia(part, f"messages.{at}.content.{number}", time)


def _scattered(parts: Sequence[ContentPart]) -> bool:
    """Whether words stand between pictures; their place is lost when all pictures come first."""
    kinds = [
        "picture" if isinstance(part, ImagePart) else "words" for at, part in enumerate(parts) if _counts(parts, at)
    ]
    pictures = [at for at, kind in enumerate(kinds) if kind == "picture"]
    return bool(pictures) and "words" in kinds[pictures[0] : pictures[-1]]


def _counts(parts: Sequence[ContentPart], at: int) -> bool:
    part = parts[at]
    return not isinstance(part, TextPart) or (bool(part.text.strip()) and _label(parts, at) is None)


_IMAGE_DATA = "data:image/"
_JPEG_FRAMES = "data:video/jpeg;base64,"
"""vLLM's way to send frames as a video: JPEG files in base64, with commas between them."""


def video_input(conversation: ParsedMessages) -> tuple[VideoInput, list[str]]:
    """The video that the conversation is about, and notes on what of it is ignored. Raises BadRequest."""
    videos = list(dict.fromkeys(_video(each) for each in conversation.media if not _is_picture(each)))
    stills = [each for each in conversation.media if _is_picture(each)]
    if not videos and not stills:
        raise BadRequest(
            "Show something: a video_url, image_url or file part in a message of the user.",
            param="messages",
            code="missing_video",
        )
    if len(videos) > 1 or (videos and stills):
        what = "several videos" if len(videos) > 1 else "a video and pictures"
        raise BadRequest(
            f"This conversation shows {what}; a question can be about one video, or about pictures.",
            param=next(each.param for each in reversed(conversation.media)),
            code="several_videos",
        )
    if stills:
        return _pictures(stills, conversation.interleaved)
    return videos[0], []


def _is_picture(shown: AttachedMedia) -> bool:
    medium = shown.part
    if isinstance(medium, FilePart):
        return (medium.file.file_data or "").startswith(_IMAGE_DATA)
    return isinstance(medium, ImagePart)


def _video(shown: AttachedMedia) -> VideoInput:
    medium = shown.part
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
    if url.startswith(_JPEG_FRAMES):
        frames = url.removeprefix(_JPEG_FRAMES).split(",")
        return VideoInput(
            pictures=tuple(PictureInput(url=f"data:image/jpeg;base64,{frame}") for frame in frames if frame)
        )
    return VideoInput(file=url) if url.startswith(("file_", "file-")) else VideoInput(url=url, uuid=medium.uuid or None)


def _file(part: FilePart, param: str) -> VideoInput:
    link = part.file
    if (link.file_id is None) == (link.file_data is None):
        raise BadRequest("Give either file_id or file_data.", param=f"{param}.file", code="missing_field")
    if link.file_id is not None:
        return VideoInput(file=link.file_id)
    data = link.file_data or ""
    return VideoInput(url=data if data.startswith("data:") else f"data:application/octet-stream;base64,{data}")


def _pictures(stills: Sequence[AttachedMedia], scattered: bool) -> tuple[VideoInput, list[str]]:
    """Pictures in order, at the times of their labels if those increase."""
    times = [each.time for each in stills]
    known = [time for time in times if time is not None]
    labelled = len(known) == len(times) and all(earlier < later for earlier, later in pairwise(known))
    notes = []
    if known and not labelled:
        notes.append("pictures: not every one has a later label than the one before, so they are shown one a second")
    if scattered:
        notes.append("pictures: all are shown before the words that stand between them")
    pictures = [PictureInput(url=_url(each), time=each.time if labelled else None) for each in stills]
    return VideoInput(pictures=tuple(pictures)), notes


def _url(shown: AttachedMedia) -> str:
    medium = shown.part
    url = medium.file.file_data if isinstance(medium, FilePart) else None
    if isinstance(medium, ImagePart):
        url = medium.image_url.url
    if not url:
        raise BadRequest("The picture has no url.", param=f"{shown.param}.image_url.url", code="missing_field")
    return url
