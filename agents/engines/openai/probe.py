"""Find out what a server is and what it can do, by asking it: a few requests of a few tokens."""

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
_PROPORTIONS = (1.0, 0.75, 0.5625)  # models that cut pictures into tiles take more for some
_LATE = 99_999.9  # seconds: its words are as long as any
_MUCH = 2**20  # tokens: a price before there is one


class CapabilityProbe:
    """Asks one server once. Nothing is assumed: what is not answered well is not offered."""

    def __init__(
        self, server: ServerClient, exchange: CompletionsEndpoint, options: ServerOptions, tenant: CacheNamespace
    ) -> None:
        self._server = server
        self._exchange = exchange
        self._options = options
        self._tenant = tenant

    async def card(self) -> ServedModel:
        """What the server says about the model. Raises EngineError."""
        try:
            listed = parse_models(await self._server.get("/models"))
        except RequestRefused:
            listed = []
        wanted = self._options.model
        if not listed and wanted is None:
            raise EngineError("The model server lists no models: add ?model=NAME to the engine's address.")
        return next((card for card in listed if card.id == (wanted or card.id)), ServedModel(id=wanted or ""))

    async def abilities(self, card: ServedModel) -> ModelCapabilities:
        """What the model offers, and what its pictures cost. Raises EngineError."""
        profile = self._profile(card)
        dialect = self._options.dialect or ("vllm" if card.owned_by == "vllm" else "openai")
        context = self._options.context or card.context or profile.context
        start = ModelCapabilities(card, dialect, profile, TokenCosts(Price(each=_MUCH)), context=context)
        bare, found = await self._first(start)
        tokens = bare.usage.prompt_tokens
        found = await self._trusting(found)
        found = await self._words(found)
        found = replace(found, tariff=replace(found.tariff, image=await self._image(found, tokens)))
        found = await self._reusing(found)
        found = await self._stream(found)
        found = await self._schema(found)
        found = await self._tools(found, tokens)
        found = await self._beam(found)
        found = await self._video(found, tokens)
        _LOG.info(
            "the model %s offers %s, with frames as %s", card.id, ", ".join(sorted(found.capabilities)), found.packing
        )
        return found

    async def _words(self, found: ModelCapabilities) -> ModelCapabilities:
        """The price of the words that tell seconds: counted, or a token for each byte."""
        written = found.profile.times == "written"
        told = (found.profile.words(_LATE), *((f", {_LATE}", TIMES_LABEL) if written else ()))
        counted = [await self.count(found, words) for words in told]
        prices = [len(text.encode()) if count is None else count for text, count in zip(told, counted, strict=True)]
        return replace(found, counts=None not in counted, tariff=TokenCosts(found.tariff.image, None, *prices))

    async def count(self, found: ModelCapabilities, text: str) -> int | None:
        """Tokens of a text; None if the server does not count. Raises EngineError."""
        if found.dialect != "vllm":
            return None
        asked = {"model": found.card.id, "prompt": text, "add_special_tokens": False}
        try:
            answer = await self._server.ask_root("/tokenize", asked)
        except ServerStatusError:
            return None
        counted = answer.get("count") if isinstance(answer, dict) else None
        return counted if isinstance(counted, int) else None

    def _profile(self, card: ServedModel) -> Profile:
        profiles, options = Profiles.load(), self._options
        name = options.profile or profiles.named([card.id, card.root])
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

    async def _first(self, start: ModelCapabilities) -> tuple[Completion, ModelCapabilities]:
        """A question without pictures: log-probabilities, and the probability of each choice."""
        request = self._request(start, (Message("user", (PROBE_QUESTION,)),), _LETTERS)
        try:
            answer = await self._exchange.ask(replace(request, weighing=True))
        except RequestRefused:  # servers that cannot give log-probabilities say so, or ignore the wish
            answer = await self._exchange.ask(self._request(start, (Message("user", (PROBE_QUESTION,)),), _SHORT))
        if not (positions := answer.choices[0].positions):
            return answer, start
        found = _with(start, "logprobs")
        weighed = choice_probabilities(positions[0].top_logprobs, _LETTERS.choices)
        return answer, _with(found, "choices") if weighed else found

    async def _trusting(self, found: ModelCapabilities) -> ModelCapabilities:
        """Whether the server takes arguments for its processor, where there are any that help."""
        if found.dialect != "vllm" or not found.profile.processor:
            return found
        trying = replace(found, trusting=True)
        return trying if await self._accepted(self._showing(trying, _blank(found.profile.side, 1.0))) else found

    async def _image(self, found: ModelCapabilities, bare: int) -> Price:
        """The price of a picture, no lower than that of any that was sent."""
        price, side = found.profile.image, found.profile.side
        for proportion in _PROPORTIONS[: 1 if price else None]:
            answer = await self._exchange.ask(self._showing(found, _blank(side, proportion)))
            price = raise_price(price, answer.usage.prompt_tokens - bare - found.tariff.label, side)
        assert price is not None
        return price

    async def _reusing(self, found: ModelCapabilities) -> ModelCapabilities:
        """Whether a picture may be sent once and then be named: the same number of tokens says that it was seen."""
        if found.dialect != "vllm":
            return found
        named = _with(found, "reuse")
        request = self._showing(named, _blank(found.profile.side, 0.9))
        first, again = await self._accepted(request), await self._accepted(request)
        if first and again and first.usage.prompt_tokens == again.usage.prompt_tokens:
            return named
        return found

    async def _stream(self, found: ModelCapabilities) -> ModelCapabilities:
        """Whether a reply can be had as it is written, with its bill."""
        if found.profile.thinking.tags != REASONING_TAGS:  # its thoughts are known as such only at the end
            return found
        request = self._request(found, (Message("user", (PROBE_QUESTION,)),), _SHORT)
        try:
            await self._exchange.ask(request, lambda _: None)
        except EngineError as problem:
            _LOG.debug("%s", problem.detail)
            return found
        return _with(found, "stream")

    async def _schema(self, found: ModelCapabilities) -> ModelCapabilities:
        """Whether the reply is held to a schema: nobody would answer this question with an object."""
        sampling = Sampling(max_tokens=8, schema=_OBJECT)
        answer = await self._accepted(self._request(found, (Message("user", (PROBE_QUESTION,)),), sampling))
        told = answer is not None and answer.choices[0].reply().text.lstrip().startswith("{")
        return _with(found, "schema") if told else found

    async def _tools(self, found: ModelCapabilities, bare: int) -> ModelCapabilities:
        """Whether the model is told about tools: its prompt must then be longer."""
        sampling = Sampling(max_tokens=1, tools=(_TOOL,))
        answer = await self._accepted(self._request(found, (Message("user", (PROBE_QUESTION,)),), sampling))
        return _with(found, "tools") if answer is not None and answer.usage.prompt_tokens > bare else found

    async def _beam(self, found: ModelCapabilities) -> ModelCapabilities:
        if found.dialect != "vllm":
            return found
        sampling = Sampling(max_tokens=1, beam=True)
        answer = await self._accepted(self._request(found, (Message("user", (PROBE_QUESTION,)),), sampling, n=2))
        return _with(found, "beam") if answer is not None and len(answer.choices) == 2 else found

    async def _video(self, found: ModelCapabilities, bare: int) -> ModelCapabilities:
        """Whether frames may be shown as a video that knows its seconds."""
        profile = found.profile
        if profile.packing != "video":
            return found
        if found.dialect == "vllm":
            side, film = profile.side, (_blank(profile.side, 1.0), _blank(profile.side, 1.0, _LATE + 2.5))
            trying = replace(found, packing="video", trusting=True)
            answer = await self._accepted(self._showing(trying, *film))
            if answer is not None and answer.usage.prompt_tokens > bare:
                words = found.tariff.words(len(film))
                price = raise_price(profile.video, answer.usage.prompt_tokens - bare - words, side, len(film))
                return _with(replace(trying, tariff=replace(found.tariff, video=price)), "video")
        _LOG.warning(
            "%s is best shown videos, but its server takes none with their seconds: frames are sent as pictures, which "
            "cost more tokens. Start vLLM with --trust-request-mm-kwargs",
            found.card.id,
        )
        return found

    def _showing(self, to: ModelCapabilities, *pictures: Picture) -> CompletionRequest:
        return self._request(to, (Message("user", (*pictures, PROBE_QUESTION)),), _SHORT)

    def _request(self, to: ModelCapabilities, prompt: Prompt, sampling: Sampling, n: int = 1) -> CompletionRequest:
        return CompletionRequest.about(prompt, to, sampling, self._tenant, n)

    async def _accepted(self, request: CompletionRequest) -> Completion | None:
        """The answer; None if the server declines, or breaks."""
        try:
            return await self._exchange.ask(request)
        except ServerStatusError as problem:
            _LOG.debug("%s", problem.detail)
            return None


def _with(found: ModelCapabilities, *capabilities: Capability) -> ModelCapabilities:
    return replace(found, capabilities=found.capabilities | set(capabilities))


def _blank(side: int, proportion: float, second: float = _LATE) -> Picture:
    """A black picture."""
    height = ceil(side * proportion)
    return Picture(Frame(second, np.zeros((height, side, 3), np.uint8)), f"blank:{side}x{height}:{second:g}")
