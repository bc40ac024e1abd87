"""Every command and every program of the pages works as it stands there: `make test-docs`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.blocks import PAGES, ROOT, Reader, matches, read_blocks, reading

pytestmark = pytest.mark.docs
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))


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
