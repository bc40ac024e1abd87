"""An engine that starts a vLLM server, warms it up, restarts it when it dies, and stops it."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from secrets import token_urlsafe
from typing import Self

import numpy as np
from pydantic import ValidationError

from agents.engines.base import EngineError, Generation, Message, OnText, Picture, Prompt, RequestObserver, Sampling
from agents.engines.openai.capabilities import ServerOptions, parse_options
from agents.engines.openai.client import ServerClient
from agents.engines.openai.engine import OpenAIEngine
from agents.engines.vllm.arguments import VllmCommand
from agents.engines.vllm.process import ServerSupervisor, SupervisorLimits
from agents.profiles import Profile, Profiles
from tools.video.frame import Frame

_OWN = frozenset({"name", "python", *SupervisorLimits.model_fields})
_ASKING = frozenset(each.name for each in fields(ServerOptions)) - {"dialect", "model"}  # set by this engine
_SCHEMA = {"type": "object", "properties": {"seen": {"type": "boolean"}}, "required": ["seen"]}


class VllmEngine(OpenAIEngine):
    """A model on a vLLM server that lives as long as this engine.

    `probe` starts the server and waits until it is ready. A server that dies is restarted; until it is ready,
    `generate` raises EngineError at once and `problem` says why.
    """

    def __init__(
        self,
        command: VllmCommand,
        limits: SupervisorLimits,
        options: ServerOptions,
        observer: RequestObserver | None = None,
    ) -> None:
        client = ServerClient(f"{command.root}/v1", command.key, seconds=options.timeout, observer=observer)
        super().__init__(client, options)
        self.supervisor = ServerSupervisor(command, limits, self._warm_up)

    @classmethod
    def open(
        cls,
        place: str,
        options: Mapping[str, str],
        *,
        api_key: str | None = None,
        observer: RequestObserver | None = None,
    ) -> Self:
        """An engine for a model's id or folder. Nothing is started yet. Raises EngineError.

        Options are those of the openai engine but for `model` and `dialect`, those of `SupervisorLimits`, `name` (what
        the model is called), `python` (an interpreter that has vLLM), and all of vLLM's own, such as
        `tensor-parallel-size`.
        """
        if not place:
            raise EngineError("the engine names no model: write vllm:FOLDER-OR-ID")
        name = options.get("name") or (Path(place).name if Path(place).is_dir() else place)
        asking = {key: value for key, value in options.items() if key in _ASKING}
        given = {key: value for key, value in options.items() if key not in _OWN | _ASKING}
        flags = {**_known(_profile(options.get("profile"), name, place)), **given}
        key = api_key or token_urlsafe(32)
        command = VllmCommand(place, name, flags, options.get("python", sys.executable), key)
        parsed = parse_options({**asking, "dialect": "vllm", "model": name})
        return cls(command, _limits(options), parsed, observer)

    @property
    def problem(self) -> str | None:
        """Why the server is not ready; None while it is."""
        return self.supervisor.problem

    async def count(self, text: str) -> int:
        """Tokens of a text, or an upper bound. Raises EngineError."""
        return await self.supervisor.run_while_alive(lambda: super(VllmEngine, self).count(text))

    async def probe(self) -> None:
        """Start the server once and wait until it is warm. Raises EngineError with the end of its log."""
        await self.supervisor.start()

    async def generate(self, prompt: Prompt, sampling: Sampling, n: int, on_text: OnText | None = None) -> Generation:
        """Draw n replies to one prompt. Raises EngineError, at once while the server is not ready."""
        return await self.supervisor.run_while_alive(
            lambda: super(VllmEngine, self).generate(prompt, sampling, n, on_text)
        )

    async def close(self) -> None:
        """Close all connections and stop the server."""
        await super().close()
        await self.supervisor.stop()

    async def _warm_up(self) -> None:
        """Send one request of each kind that is slow the first time: frames, choices, a schema."""
        await super().probe()
        blank = np.zeros((self.side, self.side, 3), np.uint8)
        pictures = tuple(Picture(Frame(time, blank), f"warm-up:{time}") for time in (0.0, 1.0))
        prompt: Prompt = (Message("user", (*pictures, "What is seen?")),)
        await super().generate(prompt, Sampling(max_tokens=1), 1)
        if "choices" in self.capabilities:
            await super().generate(prompt, Sampling(max_tokens=1, choices=("A", "B")), 1)
        if "schema" in self.capabilities:
            await super().generate(prompt, Sampling(max_tokens=8, schema=_SCHEMA), 1)


def _profile(family: str | None, *names: str) -> Profile:
    profiles = Profiles.load()
    return profiles.families.get(family or "") or profiles.of(*names)


def _known(profile: Profile) -> dict[str, str]:
    """vLLM's parsers for the tool calls and the reasoning of a family of models."""
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
