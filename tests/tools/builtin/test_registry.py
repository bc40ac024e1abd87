"""A tool is found by its file alone."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.tools.contexts import tool_context
from tools.base import Tool, find_tools
from tools.builtin import TOOLS
from tools.video.video import Video

BRIGHTNESS = '''
from typing import ClassVar, Literal

from pydantic import Field

from tools.base import AppliedArguments, Fact, Observation, Tool, clamp_range
from tools.context import ToolContext
from tools.video.sampling import Seconds, spread


class Brightness(Tool):
    """Measure how bright the frames from `start` to `end` are, from 0 to 255."""

    essential: ClassVar[tuple[str, ...]] = ("start", "end")
    name: Literal["brightness"] = "brightness"
    start: Seconds = Field(description="First second.")
    end: Seconds = Field(description="Last second.")

    def apply(self, context: ToolContext) -> Observation:
        place = clamp_range(context, self.start, self.end)
        frames = context.frames(spread((place.span,), 4), 64)
        facts = tuple(Fact(start=f.time, end=f.time, text=f"{f.image.mean():.0f}", origin="film") for f in frames)
        applied = AppliedArguments(ranges=((place.span.start, place.span.end),), frames=len(frames), side=64)
        return Observation(summary="measured", data=facts, applied=applied, warnings=place.warnings)
'''


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An importable package of tools named `stranger`, still empty."""
    package = tmp_path / "stranger"
    package.mkdir()
    monkeypatch.syspath_prepend(tmp_path)
    yield package
    for name in [each for each in sys.modules if each.partition(".")[0] == "stranger"]:
        del sys.modules[name]


def test_the_builtin_tools() -> None:
    expected = "detect ocr partition read_subtitles search_clips search_subtitles submit view zoom"
    assert " ".join(sorted(TOOLS)) == expected


@pytest.mark.parametrize("tool", TOOLS.values(), ids=TOOLS)
def test_a_tool_explains_itself_and_its_arguments(tool: type[Tool]) -> None:
    arguments = {name: field for name, field in tool.model_fields.items() if name != "name"}
    assert tool.docs().endswith(".")
    assert set(tool.essential) <= set(arguments)
    assert all(field.description for field in arguments.values())


def test_a_new_file_is_a_new_tool(folder: Path, video_path: Path) -> None:
    (folder / "brightness.py").write_text(BRIGHTNESS)
    tools = find_tools("stranger")
    assert list(tools) == ["brightness"]
    tool = tools["brightness"].model_validate({"start": 10, "end": 12})
    assert isinstance(tool, Tool)
    observation = tool.apply(tool_context(Video.open(video_path)))
    assert observation.ok
    assert [int(fact.text) for fact in observation.data] == pytest.approx([46, 46, 49, 49], abs=3)


def test_a_name_is_used_once(folder: Path) -> None:
    (folder / "brightness.py").write_text(BRIGHTNESS)
    (folder / "light.py").write_text(BRIGHTNESS)
    with pytest.raises(TypeError, match="both define a tool named 'brightness'"):
        find_tools("stranger")


def test_a_tool_without_a_name_is_refused(folder: Path) -> None:
    (folder / "nameless.py").write_text(BRIGHTNESS.replace('Literal["brightness"] = "brightness"', "str"))
    with pytest.raises(TypeError, match=r"Brightness in stranger.nameless needs a default `name`"):
        find_tools("stranger")
