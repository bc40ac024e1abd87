"""Who said what: a list of messages as instructions, earlier turns, the question, and the media in it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from agents.answer import Turn
from app.chat.schemas import AudioPart, FilePart, ImagePart, Message, Part, TextPart, VideoPart
from app.errors import BadRequest

Medium = ImagePart | VideoPart | FilePart
_LABEL = re.compile(r"\s*<\s*(\d+(?:\.\d+)?)\s*(?:s|sec|seconds?)\s*>\s*:?\s*", re.IGNORECASE)
_INSTRUCTING = ("system", "developer")


@dataclass(frozen=True, slots=True)
class Shown:
    """A picture, film or file, where it stands in the request, and the second in the label before it, if any."""

    medium: Medium
    param: str
    time: float | None = None


@dataclass(frozen=True, slots=True)
class Conversation:
    """What was said. `shown` is all media of the user's turns; `scattered`: words stand between pictures."""

    instructions: str
    history: tuple[Turn, ...]
    question: str
    shown: tuple[Shown, ...]
    scattered: bool


def read(messages: Sequence[Message]) -> Conversation:
    """Take a conversation apart. The user's last turn is the question. Raises BadRequest."""
    _check(messages)
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
    return Conversation(
        instructions=_joined(told),
        history=tuple(_turn(message) for message in turns[:asked] if _text(message)),
        question=question,
        shown=tuple(each for at, message in enumerate(messages) for each in _shown(at, message)),
        scattered=any(_scattered(message.content) for message in messages),
    )


def _check(messages: Sequence[Message]) -> None:
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


def _turn(message: Message) -> Turn:
    return Turn(role="assistant" if message.role == "assistant" else "user", text=_text(message))


def _text(message: Message) -> str:
    """The words of a message, without labels of pictures."""
    parts = message.content
    return _joined(
        part.text for at, part in enumerate(parts) if isinstance(part, TextPart) and _label(parts, at) is None
    )


def _joined(texts: Iterator[str] | Sequence[str]) -> str:
    return "\n".join(stripped for text in texts if (stripped := text.strip()))


def _label(parts: Sequence[Part], at: int) -> float | None:
    """The second that a text names as the label of the picture after it; None for any other text."""
    part = parts[at]
    if not isinstance(part, TextPart) or at + 1 == len(parts) or not isinstance(parts[at + 1], ImagePart):
        return None
    return float(found[1]) if (found := _LABEL.fullmatch(part.text)) else None


def _shown(at: int, message: Message) -> Iterator[Shown]:
    parts = message.content
    for number, part in enumerate(parts):
        if isinstance(part, ImagePart | VideoPart | FilePart):
            time = _label(parts, number - 1) if number else None
            yield Shown(part, f"messages.{at}.content.{number}", time)


def _scattered(parts: Sequence[Part]) -> bool:
    """Whether there are words between pictures, whose place is lost when all pictures come first."""
    kinds = [
        "picture" if isinstance(part, ImagePart) else "words" for at, part in enumerate(parts) if _counts(parts, at)
    ]
    pictures = [at for at, kind in enumerate(kinds) if kind == "picture"]
    return bool(pictures) and "words" in kinds[pictures[0] : pictures[-1]]


def _counts(parts: Sequence[Part], at: int) -> bool:
    part = parts[at]
    return not isinstance(part, TextPart) or (bool(part.text.strip()) and _label(parts, at) is None)
