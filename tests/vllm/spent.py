"""What a server did between two readings of its own counters."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from tests.vllm.server import Server

_CHAT = '{handler="/v1/chat/completions"}'


@dataclass(slots=True)
class Spent:
    """Counts since `measured` began; all zero until it has ended.

    `requests` are chat completions, `bytes_received` their bodies. `prefilled` prompt tokens were computed, `cached`
    were not; both count a prompt once for every sample of it. `pictures` were looked up in the cache of processed
    media, `known` of them were there.
    """

    requests: int = 0
    bytes_received: int = 0
    prefilled: int = 0
    cached: int = 0
    written: int = 0
    pictures: int = 0
    known: int = 0


@contextmanager
def measured(server: Server) -> Iterator[Spent]:
    """Measure a block. Nobody else may ask the server meanwhile, and all that was asked must have ended."""
    before = _read(server.metrics())
    spent = Spent()
    yield spent
    for name, value in _read(server.metrics()).items():
        setattr(spent, name, value - before[name])


def _read(metrics: Mapping[str, float]) -> dict[str, int]:
    found = {
        "requests": metrics.get(f"http_request_size_bytes_count{_CHAT}", 0.0),
        "bytes_received": metrics.get(f"http_request_size_bytes_sum{_CHAT}", 0.0),
        "prefilled": metrics["vllm:prompt_tokens_total"] - metrics["vllm:prompt_tokens_cached_total"],
        "cached": metrics["vllm:prompt_tokens_cached_total"],
        "written": metrics["vllm:generation_tokens_total"],
        "pictures": metrics["vllm:mm_cache_queries_total"],
        "known": metrics["vllm:mm_cache_hits_total"],
    }
    return {name: round(value) for name, value in found.items()}
