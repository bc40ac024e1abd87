"""A prompt as the messages of a chat completion request."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from agents.engine import Message, Picture, Prompt, ToolCall
from agents.engines.remote.packing import Clip, Shown, packed, told
from agents.engines.remote.tenant import Tenant
from agents.profiles import Packing, Profile

Json = dict[str, Any]
_BELOW = "The pictures are below."
_LOOK = "What the tools show:\n"


@dataclass(frozen=True, slots=True)
class Medium:
    """A picture or a clip on its way to a server. `name` is what the server may keep it under."""

    shown: Shown
    name: str | None

    def part(self, held: frozenset[str]) -> Json:
        """The content part; without its bytes if the server holds them."""
        kind = "video_url" if isinstance(self.shown, Clip) else "image_url"
        name = {} if self.name is None else {"uuid": self.name}
        return {"type": kind, kind: {"url": None if self.name in held else _url(self.shown)}, **name}


@dataclass(frozen=True, slots=True)
class Turn:
    """One message, ready to be written but for the bytes of its media."""

    message: Message
    parts: tuple[str | Medium, ...]

    @property
    def media(self) -> list[Medium]:
        """All that is no words."""
        return [part for part in self.parts if isinstance(part, Medium)]

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


def turns_of(prompt: Prompt, profile: Profile, packing: Packing, tenant: Tenant | None) -> tuple[Turn, ...]:
    """A prompt's turns as this family of models reads them. Media have names if there is a tenant to name them for."""
    messages = in_words(prompt)
    parts = packed(messages) if packing == "video" else tuple(message.parts for message in messages)
    written = profile.times == "written"
    return tuple(
        Turn(message, _media(told(each, profile.words, written=written), tenant, absolute=not written))
        for message, each in zip(messages, parts, strict=True)
    )


def in_words(prompt: Prompt) -> Prompt:
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


def _media(parts: Sequence[str | Shown], tenant: Tenant | None, *, absolute: bool) -> tuple[str | Medium, ...]:
    return tuple(
        part if isinstance(part, str) else Medium(part, _name(part, tenant, absolute=absolute) if tenant else None)
        for part in parts
    )


def _name(shown: Shown, tenant: Tenant, *, absolute: bool) -> str:
    """A name for what is shown and, for a clip, its clock: the same name is always the same bytes."""
    if isinstance(shown, Clip):
        keys = [picture.key for picture in shown.pictures]
        return tenant.clip(*keys, *shown.clock(absolute=absolute)["frames_indices"])
    return tenant.picture(shown.key)


def _url(shown: Shown) -> str:
    """The bytes as a data URL. vLLM reads the files of a clip one by one, whatever their kind."""
    if isinstance(shown, Clip):
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
