"""Engines are opened by URL, and what is wrong with a URL is said plainly."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from agents.engines.base import EngineError, Sampling
from agents.engines.openai.engine import OpenAIEngine
from agents.engines.registry import open_engine
from agents.engines.transformers.engine import TransformersEngine
from tests.agents.engines.strip import words

ROOT = Path(__file__).parents[3]


def test_scripted_says_its_text() -> None:
    engine = open_engine("scripted:blue")
    generation = asyncio.run(engine.generate(words("?"), Sampling(), 2))
    assert [reply.text for reply in generation.replies] == ["blue", "blue"]


def test_scripted_is_sure_of_a_choice_it_names_and_of_none_otherwise() -> None:
    engine = open_engine("scripted:B")
    sure = asyncio.run(engine.generate(words("?"), Sampling(choices=("A", "B")), 1)).replies[0]
    unsure = asyncio.run(engine.generate(words("?"), Sampling(choices=("yes", "no")), 1)).replies[0]
    assert sure.text == "B" and sure.probabilities == {"A": 0.0, "B": 1.0}
    assert unsure.probabilities == {"yes": 0.5, "no": 0.5}


def test_openai_is_opened_without_asking_the_server() -> None:
    engine = open_engine("openai:http://127.0.0.1:9/v1?model=m&side=336")
    assert isinstance(engine, OpenAIEngine)
    assert (engine.model, engine.side) == ("m", 336)
    asyncio.run(engine.close())


def test_transformers_is_opened_from_a_folder(llava_folder: Path) -> None:
    engine = open_engine(f"transformers:{llava_folder}?device=cpu&dtype=float32&side=112")
    assert isinstance(engine, TransformersEngine)
    assert (engine.model, engine.side, set(engine.capabilities)) == (
        "tiny-llava",
        112,
        {"logprobs", "choices", "stream"},
    )
    asyncio.run(engine.close())


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("", "must begin with one of scripted:, openai:, vllm:, transformers:, demo:"),
        ("model", "must begin with one of"),
        ("transformers:", "names no model"),
        ("transformers:/no/such/folder", "cannot load the model /no/such/folder"),
        ("transformers:x?device=cpu&colour=red", "unknown option 'colour'"),
        ("transformers:x?side=big", "side must be a number of pixels"),
        ("transformers:x?device", "write [?]name=value"),
        ("openai:localhost:8000", "must be like openai:http://host:port/v1"),
        ("openai:http://me:pw@host/v1", "put no password"),
        ("openai:http://host/v1?key=sk-1", "unknown option 'key'"),
        ("openai:http://host/v1?dialect=latin", "dialect must be one of openai, vllm"),
        ("openai:http://host/v1?timeout=never", "timeout must be a positive number"),
    ],
)
def test_bad_urls_are_refused_in_plain_words(url: str, message: str) -> None:
    with pytest.raises(EngineError, match=message) as caught:
        open_engine(url)
    assert "pw" not in str(caught.value) and "sk-1" not in str(caught.value)


def test_a_server_can_be_asked_without_torch_and_a_missing_extra_is_named() -> None:
    """In a fresh interpreter that cannot find torch."""
    program = (
        "import sys; sys.modules['torch'] = None\n"
        "from agents.engines.base import EngineError\n"
        "from agents.engines.registry import open_engine\n"
        "open_engine('openai:http://127.0.0.1:9/v1?model=m')\n"
        "try: open_engine('demo:')\n"
        "except EngineError as error: sys.exit(str(error))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert 'needs torch: pip install "secondlook[local]"' in done.stderr


def test_how_the_model_answers_is_part_of_the_url(llava_folder: Path) -> None:
    by_text = open_engine(f"transformers:{llava_folder}?answers=text")
    assert by_text.answer_format == "text"
    asyncio.run(by_text.close())
    by_letter = open_engine("openai:http://127.0.0.1:9/v1?model=m")
    assert by_letter.answer_format == "letter"
    asyncio.run(by_letter.close())
    with pytest.raises(EngineError, match="answers must be one of letter, text, not 'song'"):
        open_engine("openai:http://127.0.0.1:9/v1?answers=song")


def test_a_demo_model_that_is_not_there_is_said_plainly(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="the demo model is not in"):
        open_engine(f"demo:{tmp_path / 'none'}")
