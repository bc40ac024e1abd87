"""What is known about families of models, and that it is refused where it makes no sense."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from agents.profiles import Price, Profile, Profiles

PROFILES = Profiles.load()


@pytest.mark.parametrize(
    ("name", "family"),
    [
        ("Qwen/Qwen2.5-VL-7B-Instruct", "qwen2_5_vl"),
        ("qwen2.5-vl-72b-awq", "qwen2_5_vl"),
        ("/models/Qwen2_5_VL-3B", "qwen2_5_vl"),
        ("Qwen/Qwen3-VL-30B-A3B-Instruct-FP8", "qwen3_vl"),
        ("Qwen/Qwen3-VL-8B-Thinking", "qwen3_vl_thinking"),
        ("Qwen/Qwen3.5-27B", "qwen3_5"),
        ("OpenGVLab/InternVL3_5-8B-HF", "internvl3_5"),
        ("llava-hf/llava-onevision-qwen2-7b-ov-hf", "llava_onevision"),
        ("google/gemma-3-27b-it", "gemma3"),
        ("google/gemma-4-12b-it", "gemma4"),
        ("demo", "demo"),
        ("gpt-4.1", "default"),
        ("Qwen/Qwen3-8B", "default"),
        ("demolition-7b", "default"),
        ("google/gemma-3n-E4B-it", "default"),
    ],
)
def test_a_model_is_known_by_its_name(name: str, family: str) -> None:
    assert PROFILES.named([name]) == family


def test_the_place_of_its_weights_tells_when_its_name_does_not() -> None:
    assert PROFILES.named(["our-model", "/models/Qwen3-VL-8B-Instruct"]) == "qwen3_vl"
    assert PROFILES.named(["our-model", None]) == "default"
    assert PROFILES.of("our-model") is PROFILES.families["default"]


def test_a_family_may_be_like_another_but_for_what_it_says_itself() -> None:
    like, other = PROFILES.families["qwen3_5"], PROFILES.families["qwen3_vl"]
    assert like.video == other.video and like.label == other.label
    assert like.tool_parser != other.tool_parser and like.thinking.off == {"enable_thinking": False}


def test_every_family_has_a_price_for_the_way_it_is_shown() -> None:
    for name, each in PROFILES.families.items():
        shown = each.video if each.packing == "video" else each.image
        assert name == "default" or shown is not None
        assert each.words(7.25).count("7.2") == 1


@pytest.mark.parametrize(
    ("price", "side", "frames", "tokens"),
    [
        (Price(each=256, around=2), 900, 3, 3 * 258),
        (Price(patch=28), 448, 1, 16 * 16),
        (Price(patch=28), 449, 1, 17 * 17),
        (Price(patch=32, least=64), 64, 1, 81),  # enlarged to 64 tokens, then rounded up on both sides
        (Price(patch=28, merge=2, around=10), 280, 5, 3 * 110),  # an odd frame is one of its own
        (Price(patch=28, merge=2, around=10, factor=1.5), 280, 5, 495),
    ],
)
def test_a_price_is_for_a_size_and_a_number_of_frames(price: Price, side: int, frames: int, tokens: int) -> None:
    assert price.tokens(side, frames) == tokens


@pytest.mark.parametrize(
    ("shape", "least"), [((341, 192), 64), ((256, 256), 64), ((443, 148), 64), ((391, 167), 64), ((512, 128), 64)]
)
def test_what_is_enlarged_costs_no_more_than_the_price(shape: tuple[int, int], least: int) -> None:
    """Shapes of 65536 pixels, each side rounded up to patches of 32."""
    width, height = shape
    assert -(-width // 32) * -(-height // 32) <= Price(patch=32, least=least).tokens(64)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"side": 100, "min_side": 200}, "min_side is larger than side"),
        ({"packing": "video"}, "need a price in a video"),
        ({"label": "<frame>"}, "must contain"),
        ({"label": "<{seconds:.0f}s>"}, "less than a second apart"),
        ({"label": "<{second}>"}, "may only name"),
        ({"patterns": ["("]}, "no regular expression"),
        ({"colour": "red"}, "Extra inputs"),
        ({"image": {"each": 1, "patch": 28}}, "either each or patch"),
        ({"image": {}}, "either each or patch"),
    ],
)
def test_nonsense_is_refused(fields: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Profile.model_validate({"side": 448, "min_side": 448, **fields})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[a]\npatterns = ['a']", "no profile 'default'"),
        ("[default]\n[idle]\nside = 448", "'idle': it has no patterns"),
        ("[default]\n[a]\nlike = 'b'\npatterns = ['a']", "like 'b', which does not exist"),
        ("[default]\n[a]\nlike = 'default'\npatterns=['a']\n[b]\nlike = 'a'\npatterns = ['b']", "like another itself"),
    ],
)
def test_a_file_that_cannot_be_right_is_refused(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Profiles.read(text)
