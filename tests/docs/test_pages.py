"""What the pages say is what the code says, and their links lead somewhere."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from app.cli.terminal import WHEN_TO_USE
from app.main import create_app
from app.settings import Settings
from tests.docs import generate
from tests.docs.blocks import DATA_LANGUAGES, OUTPUT_LANGUAGES, PAGES, ROOT, RUN_LANGUAGES, matches, read_blocks

README = ROOT / "README.md"
_FENCED = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\((?!https?:)([^)#]*)(?:#([^)]+))?\)")


@pytest.mark.parametrize("name", generate.PAGES)
def test_a_generated_page_is_that_of_the_code(name: str) -> None:
    assert (generate.DOCS / name).read_text("utf-8") == generate.PAGES[name](), "run: make docs"


def test_every_setting_has_a_theme() -> None:
    assert "## Other" not in generate.settings_page(), "add it to a group in tests/docs/generate.py"


def test_readme_is_short_enough_to_be_read() -> None:
    assert len(README.read_text("utf-8").splitlines()) <= 200


def test_every_route_is_on_the_api_page(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "api.md").read_text("utf-8")
    routes = create_app(Settings(engine="scripted:A", data_dir=tmp_path)).openapi()["paths"]
    assert [route for route in routes if f"{route}`" not in page] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_links_lead_somewhere(page: Path) -> None:
    for place, anchor in _LINK.findall(_FENCED.sub("", page.read_text("utf-8"))):
        target = (page.parent / place).resolve() if place else page
        assert target.exists(), f"{place} is not there"
        assert not anchor or anchor in _anchors(target), f"{place} has no #{anchor}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_block_is_run_or_tells_readers_why_not(page: Path) -> None:
    blocks = read_blocks(page)
    reasons = re.findall(r"^\*Not run by our tests: ", page.read_text("utf-8"), re.MULTILINE)
    assert len(reasons) == sum(block.skipped is not None for block in blocks), "a reason stands right before its block"
    for block in blocks:
        known = (*RUN_LANGUAGES, *OUTPUT_LANGUAGES, *DATA_LANGUAGES)
        assert block.language in known, f"{block}: {block.language or 'no language'}"
        if block.language == "json" and "…" not in block.text:
            json.loads(block.text)


def _anchors(page: Path) -> set[str]:
    """As GitHub makes them of headings."""
    headings = re.findall(r"^#+ (.+)$", _FENCED.sub("", page.read_text("utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize(
    ("expected", "printed", "same"),
    [
        ("took 0.42 s", "took        12.07 s", True),
        ("A. circle", "B. circle", False),
        ('{"a": 1, … "z": 2}', '{"a":1,"b":[1,2],"z":-2.5}', True),
        ("one … three", "one two", False),
        ("── 3 of 5", "──────── 5 of 5", True),
    ],
)
def test_what_is_expected_and_what_is_printed(expected: str, printed: str, same: bool) -> None:
    assert matches(expected, printed) is same


def test_the_command_line_gives_the_advice_of_readme() -> None:
    section = README.read_text("utf-8").partition("## Which strategy should I choose?")[2]
    rows = [line.split("|")[2] for line in section.splitlines() if line.startswith("| ")][1:7]
    assert [re.findall(r"`(\w+)`", row)[0] for row in rows] == [row[1] for row in WHEN_TO_USE]
