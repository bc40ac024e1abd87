"""An engine for any server with OpenAI's chat completions, such as vLLM."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from copy import copy
from dataclasses import replace
from math import log
from random import Random
from typing import Self

import httpx

from agents.engines.base import (
    AnswerFormat,
    Capability,
    Engine,
    EngineError,
    Generation,
    OnText,
    Prompt,
    PromptTooLong,
    Reply,
    RequestObserver,
    Sampling,
    Token,
    choice_spellings,
    pictures_of,
    prompt_token_bound,
)
from agents.engines.openai.capabilities import ModelCapabilities, ServerOptions, parse_options
from agents.engines.openai.client import PromptExcess, RequestRefused, ServerClient, parse_excess
from agents.engines.openai.media import (
    CacheNamespace,
    CacheSecret,
    MediaCache,
    media_of,
    pack_clips,
    tool_results_as_text,
)
from agents.engines.openai.probe import CapabilityProbe
from agents.engines.openai.request import CompletionRequest, CompletionsEndpoint
from agents.engines.openai.response import Completion, choice_probabilities
from agents.profiles import Profiles


class ServerSession:
    """What all tenants of a server share. `abilities` is None until the server was asked."""

    def __init__(self, server: ServerClient, options: ServerOptions) -> None:
        self.abilities: ModelCapabilities | None = None
        self._server = server
        self._secret = CacheSecret()
        self._sent = MediaCache()
        self._exchange = CompletionsEndpoint(server, self._sent)
        self._probe = CapabilityProbe(server, self._exchange, options, self._secret.tenant(None))
        self._asking = asyncio.Lock()
        self._outages = 0
        self._closed = False

    def tenant(self, name: str | None) -> CacheNamespace:
        """Whose frames and prompts may be told apart here."""
        return self._secret.tenant(name)

    async def ready(self) -> ModelCapabilities:
        """What the model offers; asked again if the server has been away, and is another model now. EngineError."""
        if self._closed:
            raise EngineError("The engine was closed.")
        if self.abilities is None or self._outages != self._server.outages:
            async with self._asking:
                if self.abilities is None or self._outages != self._server.outages:
                    self.abilities = await self._meet()
        return self.abilities

    async def probe_again(self, known: ModelCapabilities) -> ModelCapabilities:
        """What the model offers now that the server no longer knows it under its name."""
        if self.abilities is known:
            self._outages = -1
        return await self.ready()

    async def ask(self, request: CompletionRequest, hear: OnText | None = None) -> Completion:
        """The answer; its only reply is told to `hear` while it comes. Raises EngineError."""
        return await self._exchange.ask(request, hear)

    async def count(self, text: str) -> int:
        """Tokens of a text, or one a byte where the server does not count. Raises EngineError."""
        known = await self.ready()
        counted = await self._probe.count(known, text) if known.counts else None
        return len(text.encode()) if counted is None else counted

    def apply_excess(self, excess: PromptExcess, pictures: int, others: int) -> None:
        """A prompt was too much, though its pictures and all else were thought to take no more than these tokens."""
        known = self.abilities
        if known is None:
            return
        context, most = _lowest(known.context, excess.context), _lowest(known.max_pictures, excess.pictures)
        tariff = known.tariff
        if pictures and excess.tokens is not None and excess.tokens > pictures + others:
            tariff = tariff.raised((excess.tokens - others) / pictures)
        self.abilities = replace(known, context=context, max_pictures=most, tariff=tariff)

    async def close(self) -> None:
        """Close all connections."""
        self._closed = True
        await self._server.close()

    async def _meet(self) -> ModelCapabilities:
        """Ask the server who it is, and all else if it is somebody new. What it held may be lost."""
        outages = self._server.outages
        card = await self._probe.card()
        self._sent.clear()
        known = self.abilities
        if known is None or known.card != card:
            known = await self._probe.abilities(card)
        self._outages = outages
        return known


def _lowest(*limits: int | None) -> int | None:
    return min((each for each in limits if each is not None), default=None)


_LOG = logging.getLogger("secondlook.engine")
_NOT_FOUND = 404


class OpenAIEngine(Engine):
    """A model behind `/chat/completions`.

    `probe` asks the server what it is and what it can do; before that the engine offers nothing. `generate` probes by
    itself if nobody has, and again when the server comes back as another model.

    Log-probabilities are those of the server, in nats: of the model's own distribution unless it was started to report
    them otherwise (vLLM's `--logprobs-mode`). Option probabilities come from the first token's likely alternatives.
    vLLM (dialect `vllm`, found out if not given) is held to the options, and their probabilities are exact with
    `--logprobs-mode processed_logprobs`. vLLM is sent the bytes of a frame once, and then its name.
    """

    def __init__(self, server: ServerClient, options: ServerOptions | None = None) -> None:
        self._options = options or ServerOptions()
        self._watch = server.watch
        self._host = ServerSession(server, self._options)
        self._tenant = self._host.tenant(None)

    @classmethod
    def open(
        cls,
        place: str,
        options: Mapping[str, str],
        *,
        api_key: str | None = None,
        observer: RequestObserver | None = None,
    ) -> Self:
        """An engine for the server at a base URL. Nothing is sent yet. Raises EngineError."""
        chosen = parse_options(options)
        url = httpx.URL(place)
        if url.scheme not in ("http", "https") or not url.host:
            raise EngineError(f"the engine's address must be like openai:http://host:port/v1, not openai:{place}")
        if url.userinfo:
            raise EngineError("put no password in the engine's address: it is logged. Use the API key setting")
        return cls(ServerClient(place, api_key, seconds=chosen.timeout, watch=observer), chosen)

    @property
    def model(self) -> str:
        """Name of the model, as the server calls it."""
        known = self._host.abilities
        return known.card.id if known else self._options.model or "unknown"

    @property
    def capabilities(self) -> frozenset[Capability]:
        """What the server was seen to do."""
        return self._host.abilities.capabilities if self._host.abilities else frozenset()

    @property
    def answer_format(self) -> AnswerFormat:
        """How the model states its choice among options."""
        known = self._host.abilities
        return known.profile.answer_format if known else self._options.answers or "letter"

    @property
    def side(self) -> int:
        """Longest side, in pixels, at which frames should be sent."""
        known = self._host.abilities
        return known.profile.side if known else self._options.side or Profiles.load().of().side

    @property
    def min_side(self) -> int:
        """Longest side, in pixels, below which nothing is gained."""
        return self._host.abilities.profile.min_side if self._host.abilities else self.side

    @property
    def frames(self) -> int | None:
        """How many frames its family was trained to see, or is at ease with."""
        return self._host.abilities.profile.frames if self._host.abilities else None

    @property
    def context(self) -> int | None:
        """The most tokens that it reads and writes in one call; None if unknown."""
        return self._host.abilities.context if self._host.abilities else self._options.context

    @property
    def max_pictures(self) -> int | None:
        """The most pictures in one prompt, once the server has refused more."""
        return self._host.abilities.max_pictures if self._host.abilities else None

    def frame_tokens(self, side: int) -> int:
        """Upper bound of prompt tokens for one frame as a picture, with its time label."""
        known = self._host.abilities
        return known.tariff.frame(side) if known else 1

    def picture_tokens(self, prompt: Prompt) -> int:
        """Upper bound of prompt tokens for all its pictures and their time labels, in the way they are shown."""
        known = self._host.abilities
        if known is None:
            return 0
        if known.packing != "video":
            return known.tariff.total(pictures_of(prompt))
        return known.tariff.total(
            [shown for each in pack_clips(tool_results_as_text(prompt)) for shown in media_of(each)]
        )

    async def count(self, text: str) -> int:
        """Tokens of a text; one a byte where the server does not count. Raises EngineError."""
        return await self._host.count(text)

    def for_tenant(self, tenant: str) -> Self:
        """The same engine for one tenant: what the server caches for it is found by no other."""
        view = copy(self)
        view._tenant = self._host.tenant(tenant)
        return view

    async def probe(self) -> None:
        """Find out what the model is, offers and costs. Raises EngineError."""
        await self._host.ready()

    async def generate(self, prompt: Prompt, sampling: Sampling, n: int, on_text: OnText | None = None) -> Generation:
        """Draw n replies to one prompt. Raises EngineError, TooLong."""
        try:
            known = await self._host.ready()
            try:
                return await self._generate(known, prompt, sampling, n, on_text)
            except RequestRefused as refusal:
                if refusal.status != _NOT_FOUND or (now := await self._host.probe_again(known)) is known:
                    raise
                return await self._generate(now, prompt, sampling, n, on_text)
        except EngineError as error:
            _LOG.warning("%s", error.detail)
            self._watch.request_failed("failed")
            raise

    async def close(self) -> None:
        """Close all connections."""
        await self._host.close()

    async def _generate(
        self, known: ModelCapabilities, prompt: Prompt, sampling: Sampling, n: int, hear: OnText | None
    ) -> Generation:
        if missing := sorted(sampling.required_capabilities - known.capabilities):
            raise EngineError(f"{known.card.id} cannot do what was asked for: {', '.join(missing)}.")
        request = CompletionRequest.about(prompt, known, sampling, self._tenant)
        try:
            if sampling.choices and "choices" in known.capabilities:
                return await self._choose(request, n)
            return await self._write(request, n, hear if sampling.streams(n) else None)
        except RequestRefused as refusal:
            if (found := parse_excess(refusal.words)) is None:
                raise
            pictures = self.picture_tokens(prompt)
            self._host.apply_excess(found, pictures, prompt_token_bound(self, prompt) - pictures)
            raise PromptTooLong(self._told(found)) from refusal

    def _told(self, found: PromptExcess) -> str:
        if found.pictures is not None:
            return f"The question shows more than the {found.pictures} pictures that {self.model} takes at once."
        much = f"the {self.context} tokens that {self.model} reads" if self.context else f"{self.model} reads"
        return f"The question with its frames is longer than {much}."

    async def _write(self, request: CompletionRequest, n: int, hear: OnText | None) -> Generation:
        """Servers that know no `n` send one reply however many were asked for: ask again until there are enough.

        A greedy reply is drawn once: vLLM refuses to draw it several times. A beam is as wide as it is long.
        """
        sampling = request.sampling
        wanted = n if sampling.temperature > 0 or sampling.beam else 1
        answers: list[Completion] = []
        replies: list[Reply] = []
        while len(replies) < wanted:
            answer = await self._host.ask(replace(request, n=wanted - len(replies), after=len(replies)), hear)
            answers.append(answer)
            replies += [choice.reply(request.to.profile.thinking.tags) for choice in answer.choices]
        return _generation((replies[:wanted] * n)[:n], answers)

    async def _choose(self, request: CompletionRequest, n: int) -> Generation:
        answer = await self._host.ask(replace(request, weighing=True))
        positions, sampling = answer.choices[0].positions, request.sampling
        weighed = choice_probabilities(positions[0].top_logprobs, sampling.choices) if positions else None
        if weighed is None:
            said = answer.choices[0].reply(request.to.profile.thinking.tags)
            return _generation([replace(said, text=_stated_choice(said.text, sampling))] * n, [answer])
        return _generation(_draw_choices(weighed, sampling, n), [answer])


def _stated_choice(text: str, sampling: Sampling) -> str:
    """The choice that a reply spells, as it was given; the reply itself if it spells none."""
    choices = sampling.choices
    return next((choice for choice in choices if text in choice_spellings(choice, choices)), text)


def _draw_choices(probabilities: dict[str, float], sampling: Sampling, n: int) -> list[Reply]:
    """Choices drawn here, so that one request is enough however many are wanted."""
    if sampling.temperature <= 0:
        names = [max(probabilities, key=lambda each: probabilities[each])] * n
    else:
        weights = [each ** (1 / sampling.temperature) for each in probabilities.values()]
        names = Random(sampling.seed).choices(list(probabilities), weights, k=n)
    return [Reply(name, (Token(name, log(max(probabilities[name], 1e-30))),), "stop", probabilities) for name in names]


def _generation(replies: list[Reply], answers: list[Completion]) -> Generation:
    return Generation(
        replies=tuple(replies),
        prompt_tokens=sum(answer.usage.prompt_tokens for answer in answers),
        completion_tokens=sum(answer.usage.completion_tokens for answer in answers),
        cached_tokens=sum(answer.cached_tokens for answer in answers),
    )
