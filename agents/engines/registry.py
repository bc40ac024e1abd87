"""Open an engine by its URL.

`scripted:` (replies with a fixed text, for trying the service without a model) ·
`openai:http://host:port/v1?model=NAME` (any OpenAI-compatible server) ·
`vllm:FOLDER-OR-ID?python=…&tensor-parallel-size=2` (a vLLM server that is started for this), or just `FOLDER/OR-ID` ·
`transformers:FOLDER-OR-ID?device=cpu` (in process) · `demo:` (the model that this project ships, in process).
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from types import ModuleType
from urllib.parse import parse_qsl

from agents.demo import WEIGHTS
from agents.engines.base import Engine, EngineError, Prompt, RequestObserver, Sampling
from agents.engines.scripted import ScriptedEngine, ScriptLine

_LOCAL_PACKAGES = frozenset({"torch", "transformers", "PIL", "tokenizers"})
_SCHEMES = ("scripted", "openai", "vllm", "transformers", "demo")


def open_engine(url: str, *, api_key: str | None = None, watch: RequestObserver | None = None) -> Engine:
    """Open the engine that a URL names. Raises EngineError, in words for whoever wrote the URL.

    The key is for servers that want one. It is no part of the URL, because URLs are logged and reported. `watch` is
    told of the requests to a server.
    """
    scheme, place, query = _split(url)
    if scheme not in _SCHEMES:
        known = ", ".join(f"{each}:" for each in _SCHEMES)
        raise EngineError(f"unknown engine {url!r}: it must begin with one of {known}")
    try:
        options = dict(parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query)))
    except ValueError:
        raise EngineError(f"cannot read the options of the engine {url!r}: write ?name=value&name=value") from None
    if scheme == "scripted":
        return ScriptedEngine(_echo(place))
    if scheme == "openai":
        return _module("openai").open_at(place, options, api_key, watch)  # type: ignore[no-any-return]
    if scheme == "vllm" and place:
        return _module("vllm").open_at(place, options, api_key, watch)  # type: ignore[no-any-return]
    if scheme == "demo":
        place, options = place or str(WEIGHTS), {"answers": "text", "name": "demo", "threads": "1", **options}
        if not Path(place).is_dir():
            raise EngineError(f"the demo model is not in {place}: train it with `python -m agents.demo train`")
    if not place:
        raise EngineError(f"the engine {url!r} names no model: write {scheme}:FOLDER-OR-ID")
    return _module("transformers").open_at(place, options)  # type: ignore[no-any-return]


def _split(url: str) -> tuple[str, str, str]:
    """Scheme, place and options. A model's id, which has a slash and no scheme, is served by vLLM."""
    path, _, query = url.partition("?")
    scheme, colon, place = path.partition(":")
    return (scheme, place, query) if colon or "/" not in path else ("vllm", path, query)


def _module(name: str) -> ModuleType:
    """Imported only when its scheme is asked for: nobody needs torch to talk to a server."""
    try:
        return import_module(f"agents.engines.{name}.engine")
    except ModuleNotFoundError as error:
        if error.name not in _LOCAL_PACKAGES:
            raise
        raise EngineError(
            f'this engine runs models in process and needs {error.name}: pip install "secondlook[local]"'
        ) from error


def _echo(text: str) -> Callable[[Prompt, Sampling, int], list[ScriptLine]]:
    """A script that always says the same, and is certain of it where it is one of the choices."""

    def script(_: Prompt, sampling: Sampling, n: int) -> list[ScriptLine]:
        if not sampling.choices:
            return [text] * n
        favourites = [each for each in sampling.choices if each == text] or sampling.choices
        share = 1 / len(favourites)
        return [{each: share if each in favourites else 0.0 for each in sampling.choices}] * n

    return script
