"""An engine that asks any server with OpenAI's chat completions, such as vLLM."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from copy import copy
from dataclasses import replace
from math import log
from random import Random

import httpx

from agents.answer import Manner
from agents.engine import EngineError, Generation, Hear, Offer, Prompt, Reply, Sampling, Token, TooLong, pictures_of
from agents.engines.remote.abilities import Abilities
from agents.engines.remote.completion import Completion
from agents.engines.remote.distribution import distribution
from agents.engines.remote.host import Host
from agents.engines.remote.messages import in_words
from agents.engines.remote.options import NAMES, Options, options_of
from agents.engines.remote.packing import packed, shown_in
from agents.engines.remote.refusal import Excess, excess
from agents.engines.remote.request import Request
from agents.engines.remote.server import Refused, Server
from agents.engines.spellings import spellings
from agents.engines.watch import Watch
from agents.pricing import reserve
from agents.profiles import Profiles

_LOG = logging.getLogger("secondlook.engine")
OPTIONS = frozenset(NAMES)
_NOT_FOUND = 404


def open_at(
    place: str, options: Mapping[str, str], api_key: str | None = None, watch: Watch | None = None
) -> OpenAIEngine:
    """An engine for the server at a base URL. Nothing is sent yet. Raises EngineError."""
    chosen = options_of(options)
    url = httpx.URL(place)
    if url.scheme not in ("http", "https") or not url.host:
        raise EngineError(f"the engine's address must be like openai:http://host:port/v1, not openai:{place}")
    if url.userinfo:
        raise EngineError("put no password in the engine's address: it is logged. Use the API key setting")
    return OpenAIEngine(Server(place, api_key, seconds=chosen.timeout, watch=watch), chosen)


class OpenAIEngine:
    """A model behind `/chat/completions`.

    `probe` asks the server what it is and what it can do; before that the engine offers nothing. `generate` probes by
    itself if nobody has, and again when the server comes back as another model.

    Log-probabilities are those of the server, in nats: of the model's own distribution unless it was started to report
    them otherwise (vLLM's `--logprobs-mode`). Option probabilities come from the first token's likely alternatives.
    vLLM (dialect `vllm`, found out if not given) is held to the options, and their probabilities are exact with
    `--logprobs-mode processed_logprobs`. vLLM is sent the bytes of a frame once, and then its name.
    """

    def __init__(self, server: Server, options: Options | None = None) -> None:
        self.problem: str | None = None  # a server that is down says so when it is asked
        self._options = options or Options()
        self._watch = server.watch
        self._host = Host(server, self._options)
        self._tenant = self._host.tenant(None)

    @property
    def model(self) -> str:
        """Name of the model, as the server calls it."""
        known = self._host.abilities
        return known.card.id if known else self._options.model or "unknown"

    @property
    def offers(self) -> frozenset[Offer]:
        """What the server was seen to do."""
        return self._host.abilities.offers if self._host.abilities else frozenset()

    @property
    def manner(self) -> Manner:
        """How the model states its choice among options."""
        known = self._host.abilities
        return known.profile.manner if known else self._options.answers or "letter"

    @property
    def side(self) -> int:
        """Longest side, in pixels, at which frames should be sent."""
        known = self._host.abilities
        return known.profile.side if known else self._options.side or Profiles.load().of().side

    @property
    def least_side(self) -> int:
        """Longest side, in pixels, below which nothing is gained."""
        return self._host.abilities.profile.least_side if self._host.abilities else self.side

    @property
    def frames(self) -> int | None:
        """How many frames its family was trained to see, or is at ease with."""
        return self._host.abilities.profile.frames if self._host.abilities else None

    @property
    def context(self) -> int | None:
        """The most tokens that it reads and writes in one call; None if unknown."""
        return self._host.abilities.context if self._host.abilities else self._options.context

    @property
    def most_pictures(self) -> int | None:
        """The most pictures in one prompt, once the server has refused more."""
        return self._host.abilities.most_pictures if self._host.abilities else None

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
        return known.tariff.total([shown for each in packed(in_words(prompt)) for shown in shown_in(each)])

    async def count(self, text: str) -> int:
        """Tokens of a text; one a byte where the server does not count. Raises EngineError."""
        return await self._host.count(text)

    def scoped(self, tenant: str) -> OpenAIEngine:
        """The same engine for one tenant: what the server caches for it is found by no other."""
        view = copy(self)
        view._tenant = self._host.tenant(tenant)
        return view

    async def probe(self) -> None:
        """Find out what the model is, offers and costs. Raises EngineError."""
        await self._host.ready()

    async def generate(self, prompt: Prompt, sampling: Sampling, n: int, hear: Hear | None = None) -> Generation:
        """Draw n replies to one prompt. Raises EngineError, TooLong."""
        try:
            known = await self._host.ready()
            try:
                return await self._generate(known, prompt, sampling, n, hear)
            except Refused as refusal:
                if refusal.status != _NOT_FOUND or (now := await self._host.renewed(known)) is known:
                    raise
                return await self._generate(now, prompt, sampling, n, hear)
        except EngineError as error:
            _LOG.warning("%s", error.detail)
            self._watch.mishap("failed")
            raise

    async def close(self) -> None:
        """Close all connections."""
        await self._host.close()

    async def _generate(
        self, known: Abilities, prompt: Prompt, sampling: Sampling, n: int, hear: Hear | None
    ) -> Generation:
        if missing := sorted(sampling.needs - known.offers):
            raise EngineError(f"{known.card.id} cannot do what was asked for: {', '.join(missing)}.")
        request = Request.about(prompt, known, sampling, self._tenant)
        try:
            if sampling.choices and "choices" in known.offers:
                return await self._choose(request, n)
            return await self._write(request, n, hear if sampling.streams(n) else None)
        except Refused as refusal:
            if (found := excess(refusal.words)) is None:
                raise
            pictures = self.picture_tokens(prompt)
            self._host.learn(found, pictures, reserve(self, prompt) - pictures)
            raise TooLong(self._told(found)) from refusal

    def _told(self, found: Excess) -> str:
        if found.pictures is not None:
            return f"The question shows more than the {found.pictures} pictures that {self.model} takes at once."
        much = f"the {self.context} tokens that {self.model} reads" if self.context else f"{self.model} reads"
        return f"The question with its frames is longer than {much}."

    async def _write(self, request: Request, n: int, hear: Hear | None) -> Generation:
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
        return _billed((replies[:wanted] * n)[:n], answers)

    async def _choose(self, request: Request, n: int) -> Generation:
        answer = await self._host.ask(replace(request, weighing=True))
        positions, sampling = answer.choices[0].positions, request.sampling
        weighed = distribution(positions[0].top_logprobs, sampling.choices) if positions else None
        if weighed is None:
            said = answer.choices[0].reply(request.to.profile.thinking.tags)
            return _billed([replace(said, text=_stated(said.text, sampling))] * n, [answer])
        return _billed(_drawn(weighed, sampling, n), [answer])


def _stated(text: str, sampling: Sampling) -> str:
    """The choice that a reply spells, as it was given; the reply itself if it spells none."""
    choices = sampling.choices
    return next((choice for choice in choices if text in spellings(choice, choices)), text)


def _drawn(probabilities: dict[str, float], sampling: Sampling, n: int) -> list[Reply]:
    """Choices drawn here, so that one request is enough however many are wanted."""
    if sampling.temperature <= 0:
        names = [max(probabilities, key=lambda each: probabilities[each])] * n
    else:
        weights = [each ** (1 / sampling.temperature) for each in probabilities.values()]
        names = Random(sampling.seed).choices(list(probabilities), weights, k=n)
    return [Reply(name, (Token(name, log(max(probabilities[name], 1e-30))),), "stop", probabilities) for name in names]


def _billed(replies: list[Reply], answers: list[Completion]) -> Generation:
    return Generation(
        replies=tuple(replies),
        prompt_tokens=sum(answer.usage.prompt_tokens for answer in answers),
        completion_tokens=sum(answer.usage.completion_tokens for answer in answers),
        cached_tokens=sum(answer.cached_tokens for answer in answers),
    )
