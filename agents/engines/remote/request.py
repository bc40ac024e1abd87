"""What is asked of a server, as the body of a chat completion request."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from agents.engine import Prompt, Sampling
from agents.engines.remote.abilities import Abilities
from agents.engines.remote.messages import Medium, Turn, turns_of
from agents.engines.remote.packing import Clip
from agents.engines.remote.tenant import Tenant
from agents.engines.spellings import spellings

Json = dict[str, Any]

_ALTERNATIVES = 20  # the most that OpenAI allows, and vLLM unless told otherwise


@dataclass(frozen=True, slots=True)
class Request:
    """A question to a model whose abilities are known. `tenant` is whose frames and prompts these are,
    `media` all pictures and clips in the turns.

    `after` replies have been drawn before; `weighing` wants only the first token's alternatives.
    `streaming` wants the reply in chunks as it is written, and the bill at its end.
    """

    to: Abilities
    turns: tuple[Turn, ...]
    media: tuple[Medium, ...]
    sampling: Sampling
    tenant: Tenant
    n: int = 1
    after: int = 0
    weighing: bool = False
    streaming: bool = False

    @classmethod
    def about(cls, prompt: Prompt, to: Abilities, sampling: Sampling, tenant: Tenant, n: int = 1) -> Request:
        """A question with these messages."""
        naming = tenant if "reuse" in to.offers else None
        turns = turns_of(prompt, to.profile, to.packing, naming)
        return cls(to, turns, tuple(medium for turn in turns for medium in turn.media), sampling, tenant, n)

    @property
    def may_think(self) -> bool:
        """Whether the model may think before it speaks, in words that only their end marks as a thought."""
        thinking = self.to.profile.thinking
        return bool(thinking.parser) and (self.sampling.think or not thinking.off)

    def body(self, held: frozenset[str] = frozenset()) -> bytes:
        """The JSON body; encodes the pictures, but for those that the server holds."""
        vllm = self.to.dialect == "vllm"
        sampling = self.sampling
        fields: Json = {
            "model": self.to.card.id,
            "messages": [turn.body(held) for turn in self.turns],
            "n": self.n,
            **({} if sampling.seed is None or sampling.beam else {"seed": sampling.seed + self.after}),
            **(self._weighing() if self.weighing else self._writing()),
            **(self._held_to() if vllm and sampling.choices else {}),
            **(_schema(sampling) if sampling.schema is not None else {}),
            **(_tools(sampling) if sampling.tools else {}),
            **(self._for_vllm() if vllm else {}),
            **({"stream": True, "stream_options": {"include_usage": True}} if self.streaming else {}),
        }
        return json.dumps(fields, ensure_ascii=False, separators=(",", ":")).encode()

    def _weighing(self) -> Json:
        """One token of the model's own distribution: neither flattened nor sharpened nor cut."""
        return {"max_tokens": 1, "temperature": 1.0, "top_p": 1.0, "logprobs": True, "top_logprobs": _ALTERNATIVES}

    def _writing(self) -> Json:
        sampling = self.sampling
        if sampling.beam:  # it knows neither temperature nor stops nor log-probabilities
            return {"max_tokens": sampling.max_tokens, "temperature": 0.0, "use_beam_search": True}
        return {
            "max_tokens": sampling.max_tokens,
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            **({"stop": list(sampling.stop)} if sampling.stop else {}),
            **({"logprobs": True} if "logprobs" in self.to.offers else {}),
            # Not OpenAI's: others may refuse it, so it is sent only where it is known.
            **({"top_k": sampling.top_k} if sampling.top_k > 0 and self.to.dialect == "vllm" else {}),
        }

    def _held_to(self) -> Json:
        """Hold the reply to the choices, in any of their spellings."""
        choices = self.sampling.choices
        ways = dict.fromkeys(way for choice in choices for way in spellings(choice, choices))
        return {"structured_outputs": {"choice": list(ways)}}

    def _for_vllm(self) -> Json:
        thinking = self.to.profile.thinking
        switch = thinking.on if self.sampling.think else thinking.off
        clips = [medium.shown for medium in self.media if isinstance(medium.shown, Clip)]
        clock = clips[0].clock(absolute=self.to.profile.times == "encoded") if clips else None
        processor = self.to.profile.processor if self.to.trusting and self.media else None
        return {
            **({"chat_template_kwargs": switch} if switch else {}),
            **({"media_io_kwargs": {"video": clock}} if clock else {}),
            **({"mm_processor_kwargs": processor} if processor else {}),
            **({"cache_salt": self.tenant.salt} if self.tenant.salt else {}),
        }


def _schema(sampling: Sampling) -> Json:
    shape = {"name": "reply", "strict": True, "schema": sampling.schema}
    return {"response_format": {"type": "json_schema", "json_schema": shape}}


def _tools(sampling: Sampling) -> Json:
    tools = [
        {"type": "function", "function": {"name": each.name, "description": each.description, "parameters": parameters}}
        for each in sampling.tools
        for parameters in [dict(each.parameters)]
    ]
    return {"tools": tools, "tool_choice": "auto"}
