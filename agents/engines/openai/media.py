"""Prompts as chat messages, with frames as images or one video, and the names under which a server caches them."""

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
_RATE = 100  # ticks a second: resolution of a video's times


@dataclass(frozen=True, slots=True)
class FrameClip:
    """Frames sent as a video: in order of time, all of one size."""

    pictures: tuple[Picture, ...]

    def clock(self, *, absolute: bool) -> dict[str, Any]:
        """vLLM's `media_io_kwargs` for a video with these, possibly uneven, times.

        A model that only knows a mean frame rate needs times relative to the first frame: `absolute` is then false.
        """
        times = [picture.time for picture in self.pictures]
        start, count = 0.0 if absolute else times[0], len(times)
        ticks = [round((time - start) * _RATE) for time in times]
        length = ticks[-1] + 1 if absolute else round(ticks[-1] * count / (count - 1))
        length = max(length, count)
        return {
            "num_frames": -1,  # all frames; the default is 32
            "fps": _RATE,
            "frames_indices": ticks,
            "total_num_frames": length,
            "duration": length / _RATE,
            "do_sample_frames": False,
        }

    @property
    def seconds(self) -> str:
        """The label before the clip, for models whose video encoding holds no times."""
        return TIMES_LABEL.format(", ".join(f"{picture.time:.1f}" for picture in self.pictures))


Media = Picture | FrameClip
PromptPart = str | Media


def pack_clips(prompt: Prompt) -> tuple[tuple[PromptPart, ...], ...]:
    """The parts of each message, with the longest run of frames as a clip.

    There is only one clip, because vLLM takes one set of times for all videos of a request.
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
    """The parts that are not text."""
    return [part for part in parts if not isinstance(part, str)]


def with_labels(parts: Sequence[PromptPart], words: Callable[[float], str], *, written: bool) -> list[PromptPart]:
    """The parts with a time label before each image and, if `written`, before a clip."""
    found: list[PromptPart] = []
    for part in parts:
        if isinstance(part, Picture):
            found.append(words(part.time))
        elif isinstance(part, FrameClip) and written:
            found.append(part.seconds)
        found.append(part)
    return found


def _runs(parts: Sequence[str | Picture]) -> list[range]:
    """Ranges of frames that can form a clip."""
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


_MAX_NAMES = 16_384  # names of frames, kept because computing one takes longer


class CacheSecret:
    """A random key for each process, so that nobody outside can compute the name of a frame."""

    def __init__(self) -> None:
        self._key = secrets.token_bytes(32)
        self.remembered = lru_cache(_MAX_NAMES)(self.name)

    def tenant(self, name: str | None) -> CacheNamespace:
        """The namespace of a tenant; None is the service itself."""
        return CacheNamespace(self, name)

    def name(self, *facts: str | int | None) -> str:
        """A name determined by these facts: 64 hexadecimal digits."""
        return hmac.digest(self._key, repr(facts).encode(), sha256).hex()


class CacheNamespace:
    """Names of one tenant's frames. `salt` separates its prompts in the server's prefix cache.

    The service's own prompts have no salt.
    """

    def __init__(self, secret: CacheSecret, name: str | None) -> None:
        self._secret = secret
        self._name = name
        self.salt = None if name is None else secret.remembered(name, "prompts")

    def picture(self, key: str) -> str:
        """The name of a frame with this key."""
        return self._secret.remembered(self._name, "image", key)

    def clip(self, *facts: str | int) -> str:
        """The name of a clip, from the keys and times of its frames."""
        return self._secret.name(self._name, "video", *facts)


_MAX_SENT = 65_536  # names; about 10 MB here, and more frames than vLLM's cache of 4 GiB holds


class MediaCache:
    """Names of media that the server has received; the least recently used are dropped first.

    A name is added when its request succeeds, so two concurrent requests with the same frame both send it.
    """

    def __init__(self, most: int = _MAX_SENT) -> None:
        self._most = most
        self._names: OrderedDict[str, None] = OrderedDict()

    def __len__(self) -> int:
        return len(self._names)

    def contained(self, names: Iterable[str]) -> frozenset[str]:
        """The names that the server should still hold."""
        return frozenset(name for name in names if name in self._names)

    def add(self, names: Iterable[str]) -> None:
        """Add names, or mark them as used again."""
        for name in names:
            self._names[name] = None
            self._names.move_to_end(name)
        while len(self._names) > self._most:
            self._names.popitem(last=False)

    def forget(self, names: Iterable[str]) -> None:
        """Remove names that the server no longer holds."""
        for name in names:
            self._names.pop(name, None)

    def clear(self) -> None:
        """Remove all names."""
        self._names.clear()


Json = dict[str, Any]
_BELOW = "The pictures are below."
_LOOK = "What the tools show:\n"


@dataclass(frozen=True, slots=True)
class RequestMedia:
    """An image or a clip of a request. The server may cache it under `name`."""

    shown: Media
    name: str | None

    def part(self, held: frozenset[str]) -> Json:
        """The content part; without its bytes if its name is in `held`."""
        kind = "video_url" if isinstance(self.shown, FrameClip) else "image_url"
        name = {} if self.name is None else {"uuid": self.name}
        return {"type": kind, kind: {"url": None if self.name in held else _url(self.shown)}, **name}


@dataclass(frozen=True, slots=True)
class RequestMessage:
    """One message whose media are not encoded yet."""

    message: Message
    parts: tuple[str | RequestMedia, ...]

    @property
    def media(self) -> list[RequestMedia]:
        """The images and clips."""
        return [part for part in self.parts if isinstance(part, RequestMedia)]

    def body(self, held: frozenset[str]) -> Json:
        """The message as JSON; its content is a string where there are no media, which every server takes."""
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
    """A prompt's turns as this family of models reads them. Media have names if there is a `tenant`."""
    messages = tool_results_as_text(prompt)
    parts = pack_clips(messages) if packing == "video" else tuple(message.parts for message in messages)
    written = profile.times == "written"
    return tuple(
        RequestMessage(message, _media(with_labels(each, profile.words, written=written), tenant, absolute=not written))
        for message, each in zip(messages, parts, strict=True)
    )


def tool_results_as_text(prompt: Prompt) -> Prompt:
    """The prompt with the frames of tool results moved into a user turn: many servers take only text from tools.

    That is the following turn if it is a user's, because chat templates expect alternating roles. It comes after all
    results of parallel calls.
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
    """A name for the frames and, in a clip, their times: equal names mean equal bytes."""
    if isinstance(shown, FrameClip):
        keys = [picture.key for picture in shown.pictures]
        return tenant.clip(*keys, *shown.clock(absolute=absolute)["frames_indices"])
    return tenant.picture(shown.key)


def _url(shown: Media) -> str:
    """A data URL. That of a clip holds its frames, comma-separated; vLLM detects the format of each."""
    if isinstance(shown, FrameClip):
        return f"data:video/jpeg;base64,{','.join(_base64(picture) for picture in shown.pictures)}"
    return f"data:{shown.file.kind};base64,{_base64(shown)}"


def _base64(picture: Picture) -> str:
    return b64encode(picture.file.data).decode("ascii")


def _text(text: str) -> Json:
    return {"type": "text", "text": text}


def _called(call: ToolCall) -> Json:
    """A tool call. Servers refuse arguments that are not a JSON object, so such arguments are quoted in one."""
    try:
        readable = isinstance(json.loads(call.arguments), dict)
    except ValueError:
        readable = False
    arguments = call.arguments if readable else json.dumps({"unreadable": call.arguments})
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": arguments}}
