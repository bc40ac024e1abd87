"""An engine that asks any server with OpenAI's chat completions, such as vLLM."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from math import log
from random import Random
from typing import Any

import httpx
import numpy as np

from agents.answer import Manner
from agents.engine import (
    EngineError,
    Generation,
    Message,
    Offer,
    Picture,
    Prompt,
    Reply,
    Sampling,
    Token,
    labelled,
    one_by_one,
)
from agents.engines.manner import manner
from agents.engines.remote.completion import Completion, completion
from agents.engines.remote.distribution import distribution
from agents.engines.remote.request import Dialect, Request
from agents.engines.remote.server import Refused, Server
from agents.engines.spellings import spellings
from tools.frame import Frame

OPTIONS = frozenset({"answers", "model", "dialect", "side", "timeout"})
_DIALECTS: Mapping[str, Dialect] = {"openai": "openai", "vllm": "vllm"}
_SIDE = 448  # pixels: what Qwen-, InternVL- and SigLIP-type models are at ease with
_FRAME = 1024  # tokens: more than any of them spends on a frame of that size; measured by `probe`
_SECONDS = 600.0
_QUESTION = "\nReply with the letter A or the letter B only."


def open_at(place: str, options: Mapping[str, str], api_key: str | None = None) -> OpenAIEngine:
    """An engine for the server at a base URL. Nothing is sent yet. Raises EngineError."""
    if unknown := sorted(options.keys() - OPTIONS):
        raise EngineError(f"unknown option {unknown[0]!r}: an openai engine has {', '.join(sorted(OPTIONS))}")
    url = httpx.URL(place)
    if url.scheme not in ("http", "https") or not url.host:
        raise EngineError(f"the engine's address must be like openai:http://host:port/v1, not openai:{place}")
    if url.userinfo:
        raise EngineError("put no password in the engine's address: it is logged. Use the API key setting")
    if (dialect := options.get("dialect")) not in (None, *_DIALECTS):
        raise EngineError(f"dialect must be one of {', '.join(_DIALECTS)}, not {dialect!r}")
    server = Server(place, api_key, seconds=_number(options, "timeout", _SECONDS))
    side = int(_number(options, "side", _SIDE))
    return OpenAIEngine(server, options.get("model"), _DIALECTS.get(dialect or ""), side, manner(options))


def _number(options: Mapping[str, str], name: str, usual: float) -> float:
    try:
        value = float(options.get(name, usual))
    except ValueError:
        value = 0
    if not 0 < value < 1e6:
        raise EngineError(f"{name} must be a positive number, not {options[name]!r}")
    return value


class OpenAIEngine:
    """A model behind `/chat/completions`. Frames are sent as pictures, each after its time label.

    `probe` asks the server once what it is and what it can do; before that the engine offers nothing. `generate`
    probes by itself if nobody has. Log-probabilities are those of the server, in nats: of the model's own distribution
    unless it was started to report them otherwise (vLLM's `--logprobs-mode`).
    Option probabilities come from the first token's likely alternatives. vLLM (dialect `vllm`, found out if not given)
    is held to the options, and their probabilities are exact with `--logprobs-mode processed_logprobs`.
    """

    def __init__(
        self,
        server: Server,
        model: str | None,
        dialect: Dialect | None = None,
        side: int = _SIDE,
        manner: Manner = "letter",
    ) -> None:
        self.offers: frozenset[Offer] = frozenset()
        self.model = model or "unknown"
        self.manner = manner
        self.side = side
        self.least_side = side
        self.context: int | None = None
        self.problem: str | None = None  # a server that is down says so when it is asked
        self._frame_tokens = _FRAME
        self._server = server
        self._named = model is not None
        self._dialect = dialect
        self._probed = False
        self._probing = asyncio.Lock()
        self._closed = False

    async def probe(self) -> None:
        """Find out the model's name, what it offers and what a frame costs. Asks twice, once. Raises EngineError."""
        async with self._probing:
            if not self._probed:
                await self._introduce()
                bare = await self._find_offers()
                await self._measure(bare)
                self._probed = True

    async def generate(self, prompt: Prompt, sampling: Sampling, n: int) -> Generation:
        """Draw n replies to one prompt. Raises EngineError."""
        if self._closed:
            raise EngineError(f"{self.model} was closed")
        await self.probe()
        if sampling.choices and "choices" in self.offers:
            return await self._choose(prompt, sampling, n)
        return await self._write(prompt, sampling, n)

    def frame_tokens(self, side: int) -> int:  # noqa: ARG002
        """Upper bound of prompt tokens for one frame and its time label."""
        return self._frame_tokens

    def picture_tokens(self, prompt: Prompt) -> int:
        """Each for itself."""
        return one_by_one(self, prompt)

    async def count(self, text: str) -> int:
        """One token a byte: an upper bound."""
        return len(text.encode())

    def scoped(self, tenant: str) -> OpenAIEngine:  # noqa: ARG002
        """Nothing is cached here."""
        return self

    async def close(self) -> None:
        """Close all connections."""
        self._closed = True
        await self._server.close()

    async def _introduce(self) -> None:
        if self._named and self._dialect:
            return
        try:
            models = _models(await self._server.get("/models"))
        except Refused:
            models = {}
        if not self._named:
            if not models:
                raise EngineError(f"{self._server.base} lists no models: add ?model=NAME to the engine's address")
            self.model, self._named = next(iter(models)), True
        owner = models.get(self.model, "")
        self._dialect = self._dialect or ("vllm" if owner == "vllm" else "openai")

    async def _find_offers(self) -> Completion:
        offers: set[Offer] = {"logprobs"}
        prompt: Prompt = (Message("user", (_QUESTION,)),)
        sampling = Sampling(max_tokens=1, choices=("A", "B"))
        try:
            answer = await self._ask(prompt, sampling, 1, weighing=True)
        except Refused:  # servers that cannot give log-probabilities say so, or ignore the wish
            answer = await self._ask(prompt, Sampling(max_tokens=1), 1)
        if not answer.choices[0].positions:
            offers = set()
        elif _weighed(answer, sampling) is not None:
            offers.add("choices")
        self.offers = frozenset(offers)
        return answer

    async def _measure(self, bare: Completion) -> None:
        late = 99_999.9
        blank = Picture(Frame(late, np.zeros((self.side, self.side, 3), np.uint8)), "blank")
        shown = await self._ask((Message("user", (blank, _QUESTION)),), Sampling(max_tokens=1), 1)
        self._frame_tokens = max(1, shown.usage.prompt_tokens - bare.usage.prompt_tokens)

    async def _write(self, prompt: Prompt, sampling: Sampling, n: int) -> Generation:
        """Servers that know no `n` send one reply however many were asked for: ask again until there are enough.

        A greedy reply is drawn once: vLLM refuses to draw it several times.
        """
        wanted = n if sampling.temperature > 0 else 1
        answers: list[Completion] = []
        replies: list[Reply] = []
        while len(replies) < wanted:
            answer = await self._ask(prompt, sampling, wanted - len(replies), after=len(replies))
            answers.append(answer)
            replies += [choice.reply() for choice in answer.choices]
        return _billed((replies[:wanted] * n)[:n], answers)

    async def _choose(self, prompt: Prompt, sampling: Sampling, n: int) -> Generation:
        answer = await self._ask(prompt, sampling, 1, weighing=True)
        probabilities = _weighed(answer, sampling)
        if probabilities is None:
            said = answer.choices[0].reply()
            return _billed([replace(said, text=_stated(said.text, sampling))] * n, [answer])
        return _billed(_drawn(probabilities, sampling, n), [answer])

    async def _ask(
        self, prompt: Prompt, sampling: Sampling, n: int, *, after: int = 0, weighing: bool = False
    ) -> Completion:
        logprobs = "logprobs" in self.offers
        shown, dialect = labelled(prompt), self._dialect or "openai"
        request = Request(self.model, dialect, shown, sampling, n, after, logprobs, weighing)
        body = await asyncio.to_thread(request.body)  # off the event loop: frames become JPEG and base64
        return completion(await self._server.post("/chat/completions", body))


def _models(data: Any) -> dict[str, str]:
    """Names of the models that a server lists, each with its owner."""
    listed = data.get("data") if isinstance(data, dict) else None
    models = listed if isinstance(listed, list) else []
    return {
        str(each["id"]): str(each.get("owned_by", "")) for each in models if isinstance(each, dict) and "id" in each
    }


def _weighed(answer: Completion, sampling: Sampling) -> dict[str, float] | None:
    positions = answer.choices[0].positions
    return distribution(positions[0].top_logprobs, sampling.choices) if positions else None


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
