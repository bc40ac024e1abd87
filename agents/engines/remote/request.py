"""A prompt as the body of a chat completion request."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import dataclass
from typing import Any, Literal

from agents.engine import Message, Picture, Prompt, Sampling
from agents.engines.spellings import spellings

Dialect = Literal["openai", "vllm"]

_ALTERNATIVES = 20  # the most that OpenAI allows, and vLLM unless told otherwise


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked. `after` replies have been drawn before; `weighing` wants only the first token's alternatives."""

    model: str
    dialect: Dialect
    prompt: Prompt
    sampling: Sampling
    n: int = 1
    after: int = 0
    logprobs: bool = False
    weighing: bool = False

    def body(self) -> dict[str, Any]:
        """The JSON body of the request; encodes the pictures."""
        return {
            "model": self.model,
            "messages": [{"role": message.role, "content": _content(message)} for message in self.prompt],
            "n": self.n,
            **({"logprobs": True} if self.logprobs or self.weighing else {}),
            **({} if self.sampling.seed is None else {"seed": self.sampling.seed + self.after}),
            **(self._weighing() if self.weighing else self._writing()),
            **(self._choices() if self.dialect == "vllm" and self.sampling.choices else {}),
        }

    def _weighing(self) -> dict[str, Any]:
        """One token of the model's own distribution: neither flattened nor sharpened nor cut."""
        return {"max_tokens": 1, "temperature": 1.0, "top_p": 1.0, "top_logprobs": _ALTERNATIVES}

    def _writing(self) -> dict[str, Any]:
        sampling = self.sampling
        return {
            "max_tokens": sampling.max_tokens,
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            **({"stop": list(sampling.stop)} if sampling.stop else {}),
            # Not OpenAI's: others may refuse it, so it is sent only where it is known.
            **({"top_k": sampling.top_k} if sampling.top_k > 0 and self.dialect == "vllm" else {}),
        }

    def _choices(self) -> dict[str, Any]:
        """Hold the reply to the choices, in any of their spellings."""
        choices = self.sampling.choices
        ways = dict.fromkeys(way for choice in choices for way in spellings(choice, choices))
        return {"structured_outputs": {"choice": list(ways)}}


def _content(message: Message) -> str | list[dict[str, Any]]:
    """Plain text where there are no pictures: every server takes that."""
    if not any(isinstance(part, Picture) for part in message.parts):
        return "".join(part for part in message.parts if isinstance(part, str))
    return [_part(part) for part in message.parts]


def _part(part: str | Picture) -> dict[str, Any]:
    if isinstance(part, str):
        return {"type": "text", "text": part}
    data = b64encode(part.file.data).decode("ascii")
    return {"type": "image_url", "image_url": {"url": f"data:{part.file.kind};base64,{data}"}}
