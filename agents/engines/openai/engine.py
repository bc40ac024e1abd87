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
    """State shared by all tenants of a server. `model` is None until the server is probed."""

    def __init__(self, server: ServerClient, options: ServerOptions) -> None:
        self.model: ModelCapabilities | None = None
        self._server = server
        self._secret = CacheSecret()
        self._sent = MediaCache()
        self._exchange = CompletionsEndpoint(server, self._sent)
        self._probe = CapabilityProbe(server, self._exchange, options, self._secret.tenant(None))
        self._asking = asyncio.Lock()
        self._outages = 0
        self._closed = False

    def tenant(self, name: str | None) -> CacheNamespace:
        """The cache namespace of a tenant; None is the service itself."""
        return self._secret.tenant(name)

    async def ready(self) -> ModelCapabilities:
        """The model's capabilities, probed on first use and again after an outage. Raises EngineError."""
        if self._closed:
            raise EngineError("The engine was closed.")
        if self.model is None or self._outages != self._server.outages:
            async with self._asking:
                if self.model is None or self._outages != self._server.outages:
                    self.model = await self._identify()
        return self.model

    async def probe_again(self, known: ModelCapabilities) -> ModelCapabilities:
        """Probe again, because the server no longer knows the model by its name. Raises EngineError."""
        if self.model is known:
            self._outages = -1
        return await self.ready()

    async def ask(self, request: CompletionRequest, on_text: OnText | None = None) -> Completion:
        """Send a request; with `on_text`, stream its only reply. Raises EngineError."""
        return await self._exchange.ask(request, on_text)

    async def count(self, text: str) -> int:
        """Tokens of a text, or its bytes where the server does not count. Raises EngineError."""
        known = await self.ready()
        counted = await self._probe.count(known, text) if known.counts else None
        return len(text.encode()) if counted is None else counted

    def apply_excess(self, excess: PromptExcess, pictures: int, others: int) -> None:
        """Learn from a refused prompt, estimated at `pictures` tokens for frames and `others` for the rest."""
        known = self.model
        if known is None:
            return
        context, most = _lowest(known.context, excess.context), _lowest(known.max_pictures, excess.pictures)
        token_costs = known.token_costs
        if pictures and excess.tokens is not None and excess.tokens > pictures + others:
            token_costs = token_costs.raised((excess.tokens - others) / pictures)
        self.model = replace(known, context=context, max_pictures=most, token_costs=token_costs)

    async def close(self) -> None:
        """Close all connections."""
        self._closed = True
        await self._server.close()

    async def _identify(self) -> ModelCapabilities:
        """Ask the server for its model, and probe it if that has changed. Its media cache may be empty now."""
        outages = self._server.outages
        served = await self._probe.served_model()
        self._sent.clear()
        known = self.model
        if known is None or known.served != served:
            known = await self._probe.measure(served)
        self._outages = outages
        return known


def _lowest(*limits: int | None) -> int | None:
    return min((each for each in limits if each is not None), default=None)


_LOG = logging.getLogger("secondlook.engine")
_NOT_FOUND = 404


class OpenAIEngine(Engine):
    """A model behind `/chat/completions`.

    `probe` finds out what the server can do; before that the engine has no capabilities. `generate` probes on first
    use, and again when the server comes back with another model.

    Log-probabilities are in nats, as the server reports them: of the model's own distribution unless vLLM's
    `--logprobs-mode` says otherwise. Choice probabilities come from the top alternatives of the first token. vLLM
    (dialect `vllm`, detected by default) decodes only the choices, so their probabilities are exact with
    `--logprobs-mode processed_logprobs`. vLLM receives the bytes of a frame once, and then its name.
    """

    def __init__(self, server: ServerClient, options: ServerOptions | None = None) -> None:
        self._options = options or ServerOptions()
        self._observer = server.observer
        self._session = ServerSession(server, self._options)
        self._tenant = self._session.tenant(None)

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
        return cls(ServerClient(place, api_key, seconds=chosen.timeout, observer=observer), chosen)

    @property
    def model(self) -> str:
        """Name of the model, as the server calls it."""
        known = self._session.model
        return known.served.id if known else self._options.model or "unknown"

    @property
    def capabilities(self) -> frozenset[Capability]:
        """What the server can do; empty before `probe`."""
        return self._session.model.capabilities if self._session.model else frozenset()

    @property
    def answer_format(self) -> AnswerFormat:
        """Whether the model states its choice by letter or by text."""
        known = self._session.model
        return known.profile.answer_format if known else self._options.answers or "letter"

    @property
    def side(self) -> int:
        """Longest side of a frame in pixels, as the model sees it best."""
        known = self._session.model
        return known.profile.side if known else self._options.side or Profiles.load().of().side

    @property
    def min_side(self) -> int:
        """Longest side in pixels below which frames cost no less."""
        return self._session.model.profile.min_side if self._session.model else self.side

    @property
    def frames(self) -> int | None:
        """How many frames to show it if the caller does not say, from the model's profile."""
        return self._session.model.profile.frames if self._session.model else None

    @property
    def context(self) -> int | None:
        """The most tokens that it reads and writes in one call; None if unknown."""
        return self._session.model.context if self._session.model else self._options.context

    @property
    def max_pictures(self) -> int | None:
        """The most frames in one prompt, known once the server has refused more."""
        return self._session.model.max_pictures if self._session.model else None

    def frame_tokens(self, side: int) -> int:
        """Upper bound of prompt tokens for one frame sent as an image, with its time label."""
        known = self._session.model
        return known.token_costs.frame(side) if known else 1

    def picture_tokens(self, prompt: Prompt) -> int:
        """Upper bound of prompt tokens for all frames of a prompt, sent as images or as a video."""
        known = self._session.model
        if known is None:
            return 0
        if known.packing != "video":
            return known.token_costs.total(pictures_of(prompt))
        return known.token_costs.total(
            [shown for each in pack_clips(tool_results_as_text(prompt)) for shown in media_of(each)]
        )

    async def count(self, text: str) -> int:
        """Tokens of a text, or its bytes where the server does not count. Raises EngineError."""
        return await self._session.count(text)

    def for_tenant(self, tenant: str) -> Self:
        """This engine for one tenant, whose cache entries on the server no other tenant can find."""
        view = copy(self)
        view._tenant = self._session.tenant(tenant)
        return view

    async def probe(self) -> None:
        """Find out the model's capabilities and token costs. Raises EngineError."""
        await self._session.ready()

    async def generate(self, prompt: Prompt, sampling: Sampling, n: int, on_text: OnText | None = None) -> Generation:
        """Draw n replies to one prompt. Raises EngineError, PromptTooLong."""
        try:
            known = await self._session.ready()
            try:
                return await self._generate(known, prompt, sampling, n, on_text)
            except RequestRefused as refusal:
                if refusal.status != _NOT_FOUND or (now := await self._session.probe_again(known)) is known:
                    raise
                return await self._generate(now, prompt, sampling, n, on_text)
        except EngineError as error:
            _LOG.warning("%s", error.detail)
            self._observer.request_failed("failed")
            raise

    async def close(self) -> None:
        """Close all connections."""
        await self._session.close()

    async def _generate(
        self, known: ModelCapabilities, prompt: Prompt, sampling: Sampling, n: int, on_text: OnText | None
    ) -> Generation:
        if missing := sorted(sampling.required_capabilities - known.capabilities):
            raise EngineError(f"{known.served.id} cannot do what was asked for: {', '.join(missing)}.")
        request = CompletionRequest.about(prompt, known, sampling, self._tenant)
        try:
            if sampling.choices and "choices" in known.capabilities:
                return await self._choose(request, n)
            return await self._write(request, n, on_text if sampling.streams(n) else None)
        except RequestRefused as refusal:
            if (found := parse_excess(refusal.words)) is None:
                raise
            pictures = self.picture_tokens(prompt)
            self._session.apply_excess(found, pictures, prompt_token_bound(self, prompt) - pictures)
            raise PromptTooLong(self._excess_message(found)) from refusal

    def _excess_message(self, found: PromptExcess) -> str:
        if found.pictures is not None:
            return f"The question shows more than the {found.pictures} pictures that {self.model} takes at once."
        much = f"the {self.context} tokens that {self.model} reads" if self.context else f"{self.model} reads"
        return f"The question with its frames is longer than {much}."

    async def _write(self, request: CompletionRequest, n: int, on_text: OnText | None) -> Generation:
        """Servers that ignore `n` send a single reply: repeat the request until there are enough.

        A greedy reply is drawn once, because vLLM refuses n > 1 for it.
        """
        sampling = request.sampling
        wanted = n if sampling.temperature > 0 or sampling.beam else 1
        answers: list[Completion] = []
        replies: list[Reply] = []
        while len(replies) < wanted:
            answer = await self._session.ask(replace(request, n=wanted - len(replies), after=len(replies)), on_text)
            answers.append(answer)
            replies += [choice.reply(request.to.profile.thinking.tags) for choice in answer.choices]
        return _generation((replies[:wanted] * n)[:n], answers)

    async def _choose(self, request: CompletionRequest, n: int) -> Generation:
        answer = await self._session.ask(replace(request, weighing=True))
        positions, sampling = answer.choices[0].positions, request.sampling
        weighed = choice_probabilities(positions[0].top_logprobs, sampling.choices) if positions else None
        if weighed is None:
            said = answer.choices[0].reply(request.to.profile.thinking.tags)
            return _generation([replace(said, text=_stated_choice(said.text, sampling))] * n, [answer])
        return _generation(_draw_choices(weighed, sampling, n), [answer])


def _stated_choice(text: str, sampling: Sampling) -> str:
    """The choice that the text spells; the text itself if it spells none."""
    choices = sampling.choices
    return next((choice for choice in choices if text in choice_spellings(choice, choices)), text)


def _draw_choices(probabilities: dict[str, float], sampling: Sampling, n: int) -> list[Reply]:
    """Draw n choices locally, from the probabilities of a single request."""
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
