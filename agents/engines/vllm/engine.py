"""An engine that runs vLLM's server itself: starts it, warms it up, keeps it alive, and ends it."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from secrets import token_urlsafe

import numpy as np
from pydantic import ValidationError

from agents.engines.base import (
    AnswerFormat,
    Capability,
    Engine,
    EngineError,
    Generation,
    Message,
    OnText,
    Picture,
    Prompt,
    RequestObserver,
    Sampling,
)
from agents.engines.openai import engine
from agents.engines.openai.capabilities import ServerOptions
from agents.engines.vllm.arguments import VllmCommand
from agents.engines.vllm.process import ServerSupervisor, SupervisorLimits
from agents.profiles import Profile, Profiles
from tools.video.frame import Frame

_OWN = frozenset({"name", "python", *SupervisorLimits.model_fields})
_ASKING = frozenset(each.name for each in fields(ServerOptions)) - {"dialect", "model"}  # these two are ours to say
_SCHEMA = {"type": "object", "properties": {"seen": {"type": "boolean"}}, "required": ["seen"]}


def open_at(
    place: str, options: Mapping[str, str], api_key: str | None = None, watch: RequestObserver | None = None
) -> VllmEngine:
    """An engine for a model's id or folder. Nothing is started yet. Raises EngineError.

    Options are those of the openai engine but for `model` and `dialect`, those of `Limits`, `name` (what the model is
    called), `python` (an interpreter that has vLLM), and all of vLLM's own, such as `tensor-parallel-size`.
    """
    name = options.get("name") or (Path(place).name if Path(place).is_dir() else place)
    given = {key: value for key, value in options.items() if key not in _OWN | _ASKING}
    flags = {**_known(_profile(options.get("profile"), name, place)), **given}
    program = VllmCommand(place, name, flags, options.get("python", sys.executable), api_key or token_urlsafe(32))
    asking = {key: value for key, value in options.items() if key in _ASKING}
    asked = engine.open_at(f"{program.root}/v1", {**asking, "dialect": "vllm", "model": name}, program.key, watch)
    return VllmEngine(asked, ServerSupervisor(program, _limits(options), lambda: _warm(asked)))


def _profile(family: str | None, *names: str) -> Profile:
    profiles = Profiles.load()
    return profiles.families.get(family or "") or profiles.of(*names)


def _known(profile: Profile) -> dict[str, str]:
    """What vLLM must be told of a family of models: how it writes calls, and how its thoughts."""
    calls = {"enable-auto-tool-choice": "true", "tool-call-parser": profile.tool_parser} if profile.tool_parser else {}
    return {**calls, **({"reasoning-parser": profile.thinking.parser} if profile.thinking.parser else {})}


def _limits(options: Mapping[str, str]) -> SupervisorLimits:
    try:
        return SupervisorLimits.model_validate(
            {key: value for key, value in options.items() if key in SupervisorLimits.model_fields}
        )
    except ValidationError as error:
        first = error.errors()[0]
        raise EngineError(f"{first['loc'][0]}: {first['msg']}, not {first['input']!r}") from None


async def _warm(engine: Engine) -> None:
    """One request of each kind that is slow the first time: with pictures, held to choices, held to a schema."""
    await engine.probe()
    blank = np.zeros((engine.side, engine.side, 3), np.uint8)
    pictures = tuple(Picture(Frame(time, blank), f"warm-up:{time}") for time in (0.0, 1.0))
    prompt: Prompt = (Message("user", (*pictures, "What is seen?")),)
    await engine.generate(prompt, Sampling(max_tokens=1), 1)
    if "choices" in engine.capabilities:
        await engine.generate(prompt, Sampling(max_tokens=1, choices=("A", "B")), 1)
    if "schema" in engine.capabilities:
        await engine.generate(prompt, Sampling(max_tokens=8, schema=_SCHEMA), 1)


@dataclass(frozen=True, eq=False)
class VllmEngine:
    """A model on a vLLM server that lives as long as this engine.

    `probe` starts the server and waits until it is ready. When it dies it is started again, and until it is ready
    `generate` raises EngineError at once and `problem` says why. All else is as with the openai engine.
    """

    asked: Engine
    supervisor: ServerSupervisor

    @property
    def model(self) -> str:
        """Name of the model."""
        return self.asked.model

    @property
    def capabilities(self) -> frozenset[Capability]:
        """What the server can do beyond text; nothing before `probe`."""
        return self.asked.capabilities

    @property
    def answer_format(self) -> AnswerFormat:
        """How the model states its choice among options."""
        return self.asked.answer_format

    @property
    def side(self) -> int:
        """Longest side, in pixels, at which frames should be sent."""
        return self.asked.side

    @property
    def min_side(self) -> int:
        """Longest side, in pixels, below which nothing is gained."""
        return self.asked.min_side

    @property
    def frames(self) -> int | None:
        """How many frames its family was trained to see, or is at ease with."""
        return self.asked.frames

    @property
    def context(self) -> int | None:
        """The most tokens that it reads and writes in one call."""
        return self.asked.context

    @property
    def max_pictures(self) -> int | None:
        """The most pictures that the server takes in one prompt, once it has refused more."""
        return self.asked.max_pictures

    @property
    def problem(self) -> str | None:
        """Why it cannot be asked just now; None while the server is ready."""
        return self.supervisor.problem

    def frame_tokens(self, side: int) -> int:
        """Upper bound of prompt tokens for one frame and its time label."""
        return self.asked.frame_tokens(side)

    def picture_tokens(self, prompt: Prompt) -> int:
        """Upper bound of prompt tokens for all its pictures and their time labels."""
        return self.asked.picture_tokens(prompt)

    async def count(self, text: str) -> int:
        """Tokens of a text, or an upper bound. Raises EngineError."""
        return await self.supervisor.run_while_alive(lambda: self.asked.count(text))

    def for_tenant(self, tenant: str) -> VllmEngine:
        """The same engine for one tenant, on the same server."""
        return VllmEngine(self.asked.for_tenant(tenant), self.supervisor)

    async def probe(self) -> None:
        """Start the server, once, and wait until it is warm. Raises EngineError with the end of its log."""
        await self.supervisor.start()

    async def generate(self, prompt: Prompt, sampling: Sampling, n: int, on_text: OnText | None = None) -> Generation:
        """Draw n replies to one prompt. Raises EngineError, at once while the server is not ready."""
        return await self.supervisor.run_while_alive(lambda: self.asked.generate(prompt, sampling, n, on_text))

    async def close(self) -> None:
        """Close all connections and stop the server."""
        await self.asked.close()
        await self.supervisor.stop()
