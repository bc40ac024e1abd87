"""Tools for which an operator must install something: offered where it is, refused in plain words where it is not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from agents.engines.scripted import ScriptedEngine
from agents.presets import Catalogue
from app.errors import BadRequest, Misconfigured
from app.extras import Extras
from app.settings import Settings
from tests.app.conftest import body, over_asgi
from tests.tools.builtin.test_ocr_and_detect import Sign, Spotter

EXTRAS = "tests.tools.builtin.test_ocr_and_detect"
SEEN = {"A": 0.4, "B": 0.2, "C": 0.2, "D": 0.2}
YES = {"yes": 0.9, "no": 0.1}


def planner(*tools: str) -> dict[str, Any]:
    return {"name": "planner", "tools": [*tools, "submit"]}


@pytest.mark.anyio
async def test_a_service_offers_what_its_operator_installed(settings: Settings, video_path: Path) -> None:
    found = settings.model_copy(
        update={
            "reader": f"{EXTRAS}:Sign",
            "detector": f"{EXTRAS}:Spotter",
        }
    )
    engine = ScriptedEngine([SEEN, "ocr 0 8", "detect star", "Answer: red", YES])
    async with over_asgi(found, engine) as client:
        response = await client.post("/v1/answers", json=body(video_path, strategy=planner("ocr", "detect")))
    assert response.json()["report"]["tool_calls"] == 2
    assert "EXIT" in engine.calls[2].text
    assert "star, at most 2 at once" in engine.calls[3].text


@pytest.mark.anyio
@pytest.mark.parametrize("tool", ["ocr", "detect"])
async def test_what_is_not_installed_is_the_callers_error(settings: Settings, video_path: Path, tool: str) -> None:
    engine = ScriptedEngine([])
    wanted = {"name": "escalate", "strategies": ["direct", planner(tool)]}
    async with over_asgi(settings, engine) as client:
        for strategy in (planner("view", tool), wanted):
            response = await client.post("/v1/answers", json=body(video_path, strategy=strategy))
            error = response.json()["error"]
            assert (response.status_code, error["code"], error["param"]) == (
                400,
                "tool_not_installed",
                "strategy.tools",
            )
            assert error["message"].startswith(f"strategy.tools: {tool}: nothing here")
    assert not engine.calls


def test_only_what_is_asked_for_must_be_there() -> None:
    catalogue = Catalogue.load()
    with pytest.raises(BadRequest, match="SECONDLOOK_DETECTOR"):
        Extras(reader=Sign()).check(catalogue.resolve(planner("ocr", "detect")))
    Extras(detector=Spotter()).check(catalogue.resolve(planner("detect")))
    for name in catalogue.names:
        Extras().check(catalogue.resolve(name))


@pytest.mark.parametrize(
    "place",
    [EXTRAS, "tests.nowhere:Sign", f"{EXTRAS}:Nobody"],
)
def test_a_place_that_names_nothing_is_the_operators_error(place: str) -> None:
    with pytest.raises(Misconfigured, match=f"SECONDLOOK_READER={place}"):
        Extras.of(Settings(reader=place))
