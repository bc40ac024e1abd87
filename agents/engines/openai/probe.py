"""Probe a server with a few small requests for its model's capabilities and token costs."""

from __future__ import annotations

import logging
from dataclasses import replace
from math import ceil

import numpy as np

from agents.engines.base import Capability, EngineError, Message, Picture, Prompt, Sampling, ToolSpec
from agents.engines.openai.capabilities import (
    ModelCapabilities,
    ServedModel,
    ServerOptions,
    TokenCosts,
    parse_models,
    raise_price,
)
from agents.engines.openai.client import RequestRefused, ServerClient, ServerStatusError
from agents.engines.openai.media import TIMES_LABEL, CacheNamespace
from agents.engines.openai.request import CompletionRequest, CompletionsEndpoint
from agents.engines.openai.response import REASONING_TAGS, Completion, choice_probabilities
from agents.profiles import Price, Profile, Profiles
from tools.video.frame import Frame

_LOG = logging.getLogger("secondlook.engine")

PROBE_QUESTION = "\nReply with the letter A or the letter B only."
_SHORT = Sampling(max_tokens=1)
_LETTERS = Sampling(max_tokens=1, choices=("A", "B"))
_OBJECT = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"], "additionalProperties": False}
_TOOL = ToolSpec("look", "Show a second of the film.", {"type": "object", "properties": {"second": {"type": "number"}}})
_PROPORTIONS = (1.0, 0.75, 0.5625)  # models that cut images into tiles need more tokens for some
_LATE = 99_999.9  # seconds; its label is as long as any
_MUCH = 2**20  # tokens; until the price is measured


class CapabilityProbe:
    """Probes one server. A capability counts only if a request has shown it."""

    def __init__(
        self, server: ServerClient, exchange: CompletionsEndpoint, options: ServerOptions, tenant: CacheNamespace
    ) -> None:
        self._server = server
        self._exchange = exchange
        self._options = options
        self._tenant = tenant

    async def served_model(self) -> ServedModel:
        """The model's entry of `/models`. Raises EngineError."""
        try:
            listed = parse_models(await self._server.get("/models"))
        except RequestRefused:
            listed = []
        wanted = self._options.model
        if not listed and wanted is None:
            raise EngineError("The model server lists no models: add ?model=NAME to the engine's address.")
        return next((served for served in listed if served.id == (wanted or served.id)), ServedModel(id=wanted or ""))

    async def measure(self, served: ServedModel) -> ModelCapabilities:
        """Measure the model's capabilities and token costs. Raises EngineError."""
        profile = self._profile(served)
        dialect = self._options.dialect or ("vllm" if served.owned_by == "vllm" else "openai")
        context = self._options.context or served.context or profile.context
        start = ModelCapabilities(served, dialect, profile, TokenCosts(Price(each=_MUCH)), context=context)
        bare, found = await self._try_probabilities(start)
        tokens = bare.usage.prompt_tokens
        found = await self._try_processor_arguments(found)
        found = await self._label_costs(found)
        found = replace(found, token_costs=replace(found.token_costs, image=await self._image_price(found, tokens)))
        found = await self._try_reuse(found)
        found = await self._try_stream(found)
        found = await self._try_schema(found)
        found = await self._try_tools(found, tokens)
        found = await self._try_beam(found)
        found = await self._try_video(found, tokens)
        _LOG.info(
            "the model %s has the capabilities %s; frames are sent as %s",
            served.id,
            ", ".join(sorted(found.capabilities)),
            found.packing,
        )
        return found

    async def _label_costs(self, found: ModelCapabilities) -> ModelCapabilities:
        """Tokens of time labels: counted by the server, or one for each byte."""
        written = found.profile.times == "written"
        labels = (found.profile.words(_LATE), *((f", {_LATE}", TIMES_LABEL) if written else ()))
        counted = [await self.count(found, words) for words in labels]
        prices = [len(text.encode()) if count is None else count for text, count in zip(labels, counted, strict=True)]
        return replace(
            found, counts=None not in counted, token_costs=TokenCosts(found.token_costs.image, None, *prices)
        )

    async def count(self, found: ModelCapabilities, text: str) -> int | None:
        """Tokens of a text; None if the server does not count. Raises EngineError."""
        if found.dialect != "vllm":
            return None
        asked = {"model": found.served.id, "prompt": text, "add_special_tokens": False}
        try:
            answer = await self._server.ask_root("/tokenize", asked)
        except ServerStatusError:
            return None
        counted = answer.get("count") if isinstance(answer, dict) else None
        return counted if isinstance(counted, int) else None

    def _profile(self, served: ServedModel) -> Profile:
        profiles, options = Profiles.load(), self._options
        name = options.profile or profiles.named([served.id, served.root])
        if name not in profiles.families:
            raise EngineError(f"There is no profile {name!r}. There are: {', '.join(profiles.families)}.")
        profile = profiles.families[name]
        side = options.side or profile.side
        asked = {
            "side": side,
            "min_side": min(profile.min_side, side),
            **({"answer_format": options.answers} if options.answers else {}),
            **({"packing": options.packing} if options.packing else {}),
        }
        return profile.model_copy(update=asked)

    async def _try_probabilities(self, start: ModelCapabilities) -> tuple[Completion, ModelCapabilities]:
        """Ask a question without frames, for log-probabilities and choice probabilities."""
        request = self._request(start, (Message("user", (PROBE_QUESTION,)),), _LETTERS)
        try:
            answer = await self._exchange.ask(replace(request, weighing=True))
        except RequestRefused:  # servers without log-probabilities refuse, or ignore the parameter
            answer = await self._exchange.ask(self._request(start, (Message("user", (PROBE_QUESTION,)),), _SHORT))
        if not (positions := answer.choices[0].positions):
            return answer, start
        found = _with(start, "logprobs")
        weighed = choice_probabilities(positions[0].top_logprobs, _LETTERS.choices)
        return answer, _with(found, "choices") if weighed else found

    async def _try_processor_arguments(self, found: ModelCapabilities) -> ModelCapabilities:
        """Whether the server takes the profile's arguments for the image processor."""
        if found.dialect != "vllm" or not found.profile.processor:
            return found
        trying = replace(found, takes_processor_arguments=True)
        return trying if await self._accepted(self._picture_request(trying, _blank(found.profile.side, 1.0))) else found

    async def _image_price(self, found: ModelCapabilities, bare: int) -> Price:
        """The price of an image, at least that of each one sent."""
        price, side = found.profile.image, found.profile.side
        for proportion in _PROPORTIONS[: 1 if price else None]:
            answer = await self._exchange.ask(self._picture_request(found, _blank(side, proportion)))
            price = raise_price(price, answer.usage.prompt_tokens - bare - found.token_costs.label, side)
        assert price is not None
        return price

    async def _try_reuse(self, found: ModelCapabilities) -> ModelCapabilities:
        """Whether an image can be sent once and then named: an equal token count shows that it was found."""
        if found.dialect != "vllm":
            return found
        named = _with(found, "reuse")
        request = self._picture_request(named, _blank(found.profile.side, 0.9))
        first, again = await self._accepted(request), await self._accepted(request)
        if first and again and first.usage.prompt_tokens == again.usage.prompt_tokens:
            return named
        return found

    async def _try_stream(self, found: ModelCapabilities) -> ModelCapabilities:
        """Whether a reply can be streamed, with its usage."""
        if found.profile.thinking.tags != REASONING_TAGS:  # reasoning can only be separated at the end
            return found
        request = self._request(found, (Message("user", (PROBE_QUESTION,)),), _SHORT)
        try:
            await self._exchange.ask(request, lambda _: None)
        except EngineError as problem:
            _LOG.debug("%s", problem.detail)
            return found
        return _with(found, "stream")

    async def _try_schema(self, found: ModelCapabilities) -> ModelCapabilities:
        """Whether a schema constrains the reply: without it, the reply to this question is not an object."""
        sampling = Sampling(max_tokens=8, schema=_OBJECT)
        answer = await self._accepted(self._request(found, (Message("user", (PROBE_QUESTION,)),), sampling))
        obeyed = answer is not None and answer.choices[0].reply().text.lstrip().startswith("{")
        return _with(found, "schema") if obeyed else found

    async def _try_tools(self, found: ModelCapabilities, bare: int) -> ModelCapabilities:
        """Whether tools reach the model: its prompt must then be longer."""
        sampling = Sampling(max_tokens=1, tools=(_TOOL,))
        answer = await self._accepted(self._request(found, (Message("user", (PROBE_QUESTION,)),), sampling))
        return _with(found, "tools") if answer is not None and answer.usage.prompt_tokens > bare else found

    async def _try_beam(self, found: ModelCapabilities) -> ModelCapabilities:
        if found.dialect != "vllm":
            return found
        sampling = Sampling(max_tokens=1, beam=True)
        answer = await self._accepted(self._request(found, (Message("user", (PROBE_QUESTION,)),), sampling, n=2))
        return _with(found, "beam") if answer is not None and len(answer.choices) == 2 else found

    async def _try_video(self, found: ModelCapabilities, bare: int) -> ModelCapabilities:
        """Whether frames can be sent as a video with their times."""
        profile = found.profile
        if profile.packing != "video":
            return found
        if found.dialect == "vllm":
            side, frames = profile.side, (_blank(profile.side, 1.0), _blank(profile.side, 1.0, _LATE + 2.5))
            trying = replace(found, packing="video", takes_processor_arguments=True)
            answer = await self._accepted(self._picture_request(trying, *frames))
            if answer is not None and answer.usage.prompt_tokens > bare:
                words = found.token_costs.words(len(frames))
                price = raise_price(profile.video, answer.usage.prompt_tokens - bare - words, side, len(frames))
                return _with(replace(trying, token_costs=replace(found.token_costs, video=price)), "video")
        _LOG.warning(
            "%s works best with videos, but its server takes none with frame times: frames are sent as images, which "
            "cost more tokens. Start vLLM with --trust-request-mm-kwargs",
            found.served.id,
        )
        return found

    def _picture_request(self, to: ModelCapabilities, *pictures: Picture) -> CompletionRequest:
        return self._request(to, (Message("user", (*pictures, PROBE_QUESTION)),), _SHORT)

    def _request(self, to: ModelCapabilities, prompt: Prompt, sampling: Sampling, n: int = 1) -> CompletionRequest:
        return CompletionRequest.about(prompt, to, sampling, self._tenant, n)

    async def _accepted(self, request: CompletionRequest) -> Completion | None:
        """The completion; None if the server refuses or fails."""
        try:
            return await self._exchange.ask(request)
        except ServerStatusError as problem:
            _LOG.debug("%s", problem.detail)
            return None


def _with(found: ModelCapabilities, *capabilities: Capability) -> ModelCapabilities:
    return replace(found, capabilities=found.capabilities | set(capabilities))


def _blank(side: int, proportion: float, second: float = _LATE) -> Picture:
    """A black frame."""
    height = ceil(side * proportion)
    return Picture(Frame(second, np.zeros((height, side, 3), np.uint8)), f"blank:{side}x{height}:{second:g}")
