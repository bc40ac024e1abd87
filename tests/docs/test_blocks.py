"""Every command and every program of the pages works as it stands there: `make test-docs`."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from agents.demo.encoder import encode_video, subtitles_srt
from agents.demo.generator import make_video
from tests.docs.blocks import PAGES, ROOT, Reader, matches, read_blocks, reading
from tests.service import Service, serving

pytestmark = pytest.mark.docs
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
EXPECTED = {
    "background": "completed in attempt 2: circle",
    "compare": "until_confident  circle",
    "long_video": "planner: Ben",
    "openai_client": "answer: C",
    "stream": "answer: yes",
}
"""What each example prints among other things."""


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[Reader]:
    """Somebody at a shell in an empty folder."""
    yield from reading(tmp_path)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_blocks_of_a_page_run_in_order(page: Path, reader: Reader) -> None:
    for block in read_blocks(page):
        if block.runs:
            printed = reader.run(block)
            assert block.output is None or matches(block.output, printed), f"{block} prints\n{printed}"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service with the demo model, and the videos that the examples are about."""
    folder = tmp_path_factory.mktemp("examples")
    for name, seed, minutes in (("video", 1_000_000_007, None), ("long", 1_000_005_003, 30.0)):
        made = make_video(seed, minutes)
        encode_video(made, folder / f"{name}.mp4")
        (folder / f"{name}.srt").write_text(subtitles_srt(made) or "", "utf-8")
    with serving(folder, engine="demo:") as started:
        yield started


@pytest.mark.parametrize("program", EXAMPLES, ids=lambda program: program.stem)
def test_an_example_runs(program: Path, service: Service) -> None:
    environment = {**os.environ, "SECONDLOOK_URL": service.url, "NO_PROXY": "127.0.0.1"}
    command = [sys.executable, str(program)]
    done = subprocess.run(command, cwd=service.folder, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert EXPECTED[program.stem] in done.stdout, done.stdout
