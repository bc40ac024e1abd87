"""Prompts as chat messages: frames as images or as one video, and the names under which a server caches them."""

from __future__ import annotations

import hmac
import json
import secrets
from base64 import b64encode
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from hashlib import sha256
from typing import Any

from agents.engines.base import Message, Picture, Prompt, ToolCall
from agents.profiles import Packing, Profile

TIMES_LABEL = "Frames at the seconds {}:\n"
_RATE = 100  # ticks a second: how exactly a video tells its seconds


@dataclass(frozen=True, slots=True)
class FrameClip:
    """Pictures that are shown as a video: in order of time, all of one size."""

    pictures: tuple[Picture, ...]

    def clock(self, *, absolute: bool) -> dict[str, Any]:
        """vLLM's arguments for a video that tells when its frames really are, however unevenly.

        Where a model knows but a mean rate, that must be of these frames alone: then time starts at the first of them.
        """
        times = [picture.time for picture in self.pictures]
        start, count = 0.0 if absolute else times[0], len(times)
        ticks = [round((time - start) * _RATE) for time in times]
        length = ticks[-1] + 1 if absolute else round(ticks[-1] * count / (count - 1))
        length = max(length, count)
        return {
            "num_frames": -1,  # all that are sent, instead of the first 32
            "fps": _RATE,
            "frames_indices": ticks,
            "total_num_frames": length,
            "duration": length / _RATE,
            "do_sample_frames": False,
        }

    @property
    def seconds(self) -> str:
        """The words before it, where the video itself cannot tell them."""
        return TIMES_LABEL.format(", ".join(f"{picture.time:.1f}" for picture in self.pictures))


Media = Picture | FrameClip
PromptPart = str | Media


def pack_clips(prompt: Prompt) -> tuple[tuple[PromptPart, ...], ...]:
    """The parts of each message with the longest run of pictures as a clip.

    Only one, because a server reads one clock for all videos of a request. Other pictures are shown one by one.
    """
    runs = [(place, run) for place, message in enumerate(prompt) for run in _runs(message.parts)]
    place, longest = max(runs, key=lambda each: len(each[1]), default=(0, range(0)))
    parts: list[tuple[PromptPart, ...]] = [message.parts for message in prompt]
    if len(longest) > 1:
        before, after = parts[place][: longest.start], parts[place][longest.stop :]
        run = (part for part in parts[place][longest.start : longest.stop] if isinstance(part, Picture))
        parts[place] = (*before, FrameClip(tuple(run)), *after)
    return tuple(parts)


def media_of(parts: Sequence[PromptPart]) -> list[Media]:
    """What is no words."""
    return [part for part in parts if not isinstance(part, str)]


def with_labels(parts: Sequence[PromptPart], words: Callable[[float], str], *, written: bool) -> list[PromptPart]:
    """The parts with the words before each picture, and before a clip that cannot tell its seconds itself."""
    found: list[PromptPart] = []
    for part in parts:
        if isinstance(part, Picture):
            found.append(words(part.time))
        elif isinstance(part, FrameClip) and written:
            found.append(part.seconds)
        found.append(part)
    return found


def _runs(parts: Sequence[str | Picture]) -> list[range]:
    """Places of pictures that may follow one another in a clip."""
    runs: list[range] = []
    before: str | Picture = ""
    for place, part in enumerate(parts):
        if isinstance(part, Picture):
            follows = isinstance(before, Picture) and _follows(before, part)
            start = runs.pop().start if follows else place
            runs.append(range(start, place + 1))
        before = part
    return runs


def _follows(before: Picture, after: Picture) -> bool:
    same_size = (before.frame.width, before.frame.height) == (after.frame.width, after.frame.height)
    return same_size and before.time <= after.time


_MAX_NAMES = 16_384
"""Names that are remembered: those of the pictures that are asked about again."""


class CacheSecret:
    """Random for each process: nobody outside can compute a name."""

    def __init__(self) -> None:
        self._key = secrets.token_bytes(32)
        self.remembered = lru_cache(_MAX_NAMES)(self.name)

    def tenant(self, name: str | None) -> CacheNamespace:
        """One of the tenants; None is the service itself."""
        return CacheNamespace(self, name)

    def name(self, *facts: str | int | None) -> str:
        """The name of something that these facts determine: 64 hexadecimal digits."""
        return hmac.digest(self._key, repr(facts).encode(), sha256).hex()


class CacheNamespace:
    """Whose frames and prompts these are. `salt` keeps its prompts apart in the server's prefix cache.

    The service's own prompts are not salted.
    """

    def __init__(self, secret: CacheSecret, name: str | None) -> None:
        self._secret = secret
        self._name = name
        self.salt = None if name is None else secret.remembered(name, "prompts")

    def picture(self, key: str) -> str:
        """The name of a picture with this key."""
        return self._secret.remembered(self._name, "image", key)

    def clip(self, *facts: str | int) -> str:
        """The name of a clip: the keys of its pictures, and when it shows them."""
        return self._secret.name(self._name, "video", *facts)


_MAX_SENT = 65_536  # names; some 10 MB here, and more frames than vLLM's cache of 4 GiB holds


class MediaCache:
    """Names of media that arrived, the least recently used forgotten first.

    A name counts only once its request was answered: two requests that bring the same frame at once both send it.
    """

    def __init__(self, most: int = _MAX_SENT) -> None:
        self._most = most
        self._names: OrderedDict[str, None] = OrderedDict()

    def __len__(self) -> int:
        return len(self._names)

    def contained(self, names: Iterable[str]) -> frozenset[str]:
        """Those of the names that the server should hold."""
        return frozenset(name for name in names if name in self._names)

    def add(self, names: Iterable[str]) -> None:
        """These have arrived, or were used again."""
        for name in names:
            self._names[name] = None
            self._names.move_to_end(name)
        while len(self._names) > self._most:
            self._names.popitem(last=False)

    def forget(self, names: Iterable[str]) -> None:
        """The server no longer holds these."""
        for name in names:
            self._names.pop(name, None)

    def clear(self) -> None:
        """The server holds nothing any more."""
        self._names.clear()


Json = dict[str, Any]
_BELOW = "The pictures are below."
_LOOK = "What the tools show:\n"


@dataclass(frozen=True, slots=True)
class RequestMedia:
    """A picture or a clip on its way to a server. `name` is what the server may keep it under."""

    shown: Media
    name: str | None

    def part(self, held: frozenset[str]) -> Json:
        """The content part; without its bytes if the server holds them."""
        kind = "video_url" if isinstance(self.shown, FrameClip) else "image_url"
        name = {} if self.name is None else {"uuid": self.name}
        return {"type": kind, kind: {"url": None if self.name in held else _url(self.shown)}, **name}


@dataclass(frozen=True, slots=True)
class RequestMessage:
    """One message, ready to be written but for the bytes of its media."""

    message: Message
    parts: tuple[str | RequestMedia, ...]

    @property
    def media(self) -> list[RequestMedia]:
        """All that is no words."""
        return [part for part in self.parts if isinstance(part, RequestMedia)]

    def body(self, held: frozenset[str]) -> Json:
        """The message. Plain text where there are no media: every server takes that."""
        content: str | list[Json] | None
        if all(isinstance(part, str) for part in self.parts):
            content = "".join(part for part in self.parts if isinstance(part, str))
        else:
            content = [_text(part) if isinstance(part, str) else part.part(held) for part in self.parts]
        calls = [_called(call) for call in self.message.calls]
        return {
            "role": self.message.role,
            "content": None if calls and not content else content,
            **({"tool_calls": calls} if calls else {}),
            **({"tool_call_id": self.message.call.id} if self.message.call else {}),
        }


def request_messages(
    prompt: Prompt, profile: Profile, packing: Packing, tenant: CacheNamespace | None
) -> tuple[RequestMessage, ...]:
    """A prompt's turns as this family of models reads them. Media have names if there is a tenant to name them for."""
    messages = tool_results_as_text(prompt)
    parts = pack_clips(messages) if packing == "video" else tuple(message.parts for message in messages)
    written = profile.times == "written"
    return tuple(
        RequestMessage(message, _media(with_labels(each, profile.words, written=written), tenant, absolute=not written))
        for message, each in zip(messages, parts, strict=True)
    )


def tool_results_as_text(prompt: Prompt) -> Prompt:
    """The prompt with results of tools in words only, as many servers take them: pictures go into a user's turn after.

    That is the next turn if it is a user's, because templates want the speakers to take turns; calls that belong
    together are all answered before it.
    """
    turns: list[Message] = []
    waiting: list[Picture] = []
    for message in prompt:
        if message.role == "tool":
            pictures = [part for part in message.parts if isinstance(part, Picture)]
            words = tuple(part for part in message.parts if isinstance(part, str))
            turns.append(replace(message, parts=(*words, *([_BELOW] if pictures else []))))
            waiting += pictures
            continue
        if waiting and message.role == "user":
            message = replace(message, parts=(_LOOK, *waiting, "\n", *message.parts))
        elif waiting:
            turns.append(Message("user", (_LOOK, *waiting)))
        waiting = []
        turns.append(message)
    return (*turns, *([Message("user", (_LOOK, *waiting))] if waiting else []))


def _media(
    parts: Sequence[str | Media], tenant: CacheNamespace | None, *, absolute: bool
) -> tuple[str | RequestMedia, ...]:
    return tuple(
        part
        if isinstance(part, str)
        else RequestMedia(part, _name(part, tenant, absolute=absolute) if tenant else None)
        for part in parts
    )


def _name(shown: Media, tenant: CacheNamespace, *, absolute: bool) -> str:
    """A name for what is shown and, for a clip, its clock: the same name is always the same bytes."""
    if isinstance(shown, FrameClip):
        keys = [picture.key for picture in shown.pictures]
        return tenant.clip(*keys, *shown.clock(absolute=absolute)["frames_indices"])
    return tenant.picture(shown.key)


def _url(shown: Media) -> str:
    """The bytes as a data URL. vLLM reads the files of a clip one by one, whatever their kind."""
    if isinstance(shown, FrameClip):
        return f"data:video/jpeg;base64,{','.join(_base64(picture) for picture in shown.pictures)}"
    return f"data:{shown.file.kind};base64,{_base64(shown)}"


def _base64(picture: Picture) -> str:
    return b64encode(picture.file.data).decode("ascii")


def _text(text: str) -> Json:
    return {"type": "text", "text": text}


def _called(call: ToolCall) -> Json:
    """What the model called. Servers refuse arguments that are no JSON object: those are quoted in one."""
    try:
        readable = isinstance(json.loads(call.arguments), dict)
    except ValueError:
        readable = False
    arguments = call.arguments if readable else json.dumps({"unreadable": call.arguments})
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": arguments}}
