"""Open an engine by its URL, `SCHEME:PLACE?NAME=VALUE`.

`scripted:TEXT` (always replies with this text, for trying the service without a model) ·
`openai:http://host:port/v1?model=NAME` (any OpenAI-compatible server) ·
`vllm:FOLDER-OR-ID?python=…&tensor-parallel-size=2` (a vLLM server that is started for this), or just `FOLDER/OR-ID` ·
`transformers:FOLDER-OR-ID?device=cpu` (in process) · `demo:` (the model that this project ships, in process).
"""

from __future__ import annotations

from importlib import import_module
from urllib.parse import parse_qsl

from agents.engines.base import Engine, EngineError, RequestObserver

ENGINES = {
    "scripted": "agents.engines.scripted:ScriptedEngine",
    "openai": "agents.engines.openai.engine:OpenAIEngine",
    "vllm": "agents.engines.vllm.engine:VllmEngine",
    "transformers": "agents.engines.transformers.engine:TransformersEngine",
    "demo": "agents.engines.transformers.engine:DemoEngine",
}
"""Module and class for each scheme; imported when the scheme is used, so a model server needs no torch."""

_LOCAL_PACKAGES = frozenset({"torch", "transformers", "PIL", "tokenizers"})  # of the extra `local`


def open_engine(url: str, *, api_key: str | None = None, observer: RequestObserver | None = None) -> Engine:
    """Open the engine that a URL names. Raises EngineError, in words for whoever wrote the URL.

    `api_key` is for servers that want one; it is no part of the URL, because URLs are logged and reported.
    `observer` is told about the requests to a server.
    """
    scheme, place, query = _split(url)
    if scheme not in ENGINES:
        known = ", ".join(f"{each}:" for each in ENGINES)
        raise EngineError(f"unknown engine {url!r}: it must begin with one of {known}")
    try:
        options = dict(parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query)))
    except ValueError:
        raise EngineError(f"cannot read the options of the engine {url!r}: write ?name=value&name=value") from None
    return _engine_class(scheme).open(place, options, api_key=api_key, observer=observer)


def _split(url: str) -> tuple[str, str, str]:
    """Scheme, place and query. A model's id, which has a slash and no scheme, is served by vLLM."""
    path, _, query = url.partition("?")
    scheme, colon, place = path.partition(":")
    return (scheme, place, query) if colon or "/" not in path else ("vllm", path, query)


def _engine_class(scheme: str) -> type[Engine]:
    module, _, name = ENGINES[scheme].partition(":")
    try:
        found: type[Engine] = getattr(import_module(module), name)
    except ModuleNotFoundError as error:
        if error.name not in _LOCAL_PACKAGES:
            raise
        raise EngineError(
            f'this engine runs models in process and needs {error.name}: pip install "secondlook[local]"'
        ) from error
    return found
