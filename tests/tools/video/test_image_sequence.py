"""Given pictures: shown at their seconds, none left out, none trusted."""

import io
import pickle
import random
from threading import Event

import numpy as np
import pytest
from PIL import Image

from tools.video.cache import FrameCache
from tools.video.image_sequence import ImageSequence
from tools.video.limits import BadVideo, DecodingStopped, VideoLimits
from tools.video.sampling import SampleWindow, Span, grid, jittered, uniform


def still(level: int = 0, size: tuple[int, int] = (8, 6), kind: str = "PNG", **options: object) -> bytes:
    """An encoded picture of one grey."""
    file = io.BytesIO()
    Image.new("RGB", size, (level, level, level)).save(file, kind, **options)
    return file.getvalue()


def show(count: int, times: list[float] | None = None) -> ImageSequence:
    """Pictures whose grey is ten times their number."""
    return ImageSequence.open([still(10 * number) for number in range(count)], times)


def seen(slides: ImageSequence, moments: tuple[SampleWindow, ...], side: int = 8) -> list[tuple[float, int]]:
    """Second and grey of each frame of a look."""
    return [(frame.time, int(frame.image[0, 0, 0])) for frame in slides.get_frames(moments, side).frames]


def test_one_picture_a_second_unless_told() -> None:
    slides = show(3)
    assert slides.span == Span(0, 3)
    assert seen(slides, grid(slides.span, 3)) == [(0, 0), (1, 10), (2, 20)]


def test_a_picture_is_shown_from_its_second_until_the_next() -> None:
    slides = show(20, [2.5 + 2 * number for number in range(20)])
    assert slides.span == Span(2.5, 42.5)
    asked = tuple(map(SampleWindow.at, (0.0, 4.4, 4.5, 99.0, 2.5)))
    assert seen(slides, asked) == [(2.5, 0), (2.5, 0), (4.5, 10), (40.5, 190), (2.5, 0)]


@pytest.mark.parametrize("times", [None, [0.0, 0.1, 10.0, 20.0, 20.5], [3.0, 4.0, 5.0, 6.0, 600.0]])
@pytest.mark.parametrize("asked", [5, 6, 32])
def test_an_even_look_leaves_no_picture_out_where_as_many_may_be_shown(times: list[float] | None, asked: int) -> None:
    slides = show(5, times)
    assert {grey for _, grey in seen(slides, uniform(slides.span, asked))} == {0, 10, 20, 30, 40}


@pytest.mark.parametrize("asked", [5, 6, 32])
def test_nor_does_any_look_at_even_seconds(asked: int) -> None:
    slides = show(5)
    for moments in (grid(slides.span, asked), jittered(slides.span, asked, random.Random(asked))):
        assert {grey for _, grey in seen(slides, moments)} == {0, 10, 20, 30, 40}


def test_fewer_moments_than_pictures_show_fewer() -> None:
    slides = show(10)
    assert [time for time, _ in seen(slides, uniform(slides.span, 5))] == [1, 3, 5, 7, 9]


def test_a_look_at_a_part_shows_that_part() -> None:
    slides = show(10)
    assert {time for time, _ in seen(slides, uniform(Span(4, 6), 8))} == {4, 5}


def test_frames_are_small_enough_and_never_enlarged() -> None:
    slides = ImageSequence.open([still(9, (400, 200), "JPEG"), still(9, (10, 20))])
    sizes = [(frame.width, frame.height) for frame in slides.get_frames(grid(slides.span, 2), 64).frames]
    assert sizes == [(64, 32), (10, 20)]


def test_a_turned_picture_is_upright() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned by a quarter
    slides = ImageSequence.open([still(9, (40, 20), "JPEG", exif=exif)])
    (frame,) = slides.get_frames((SampleWindow.at(0),), 64).frames
    assert (frame.width, frame.height) == (20, 40)


def test_nothing_is_white() -> None:
    file = io.BytesIO()
    Image.new("RGBA", (4, 4), (0, 0, 0, 0)).save(file, "PNG")
    slides = ImageSequence.open([file.getvalue()])
    assert np.all(slides.get_frames((SampleWindow.at(0),), 8).frames[0].image == 255)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "BMP"])
def test_the_usual_kinds_are_read(kind: str) -> None:
    slides = ImageSequence.open([still(200, kind=kind)])
    ((_, grey),) = seen(slides, (SampleWindow.at(0),))
    assert abs(grey - 200) <= 2


@pytest.mark.parametrize("data", [b"", b"\x89PNG\r\n\x1a\n", b"<svg/>", still(kind="TIFF"), still()[:20]])
def test_what_is_no_picture_is_named(data: bytes) -> None:
    with pytest.raises(BadVideo, match=r"^Picture 2: "):
        ImageSequence.open([still(), data])


def test_a_picture_that_breaks_off_is_named_when_it_is_looked_at() -> None:
    file = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    Image.fromarray(noise).save(file, "JPEG")
    whole = file.getvalue()
    slides = ImageSequence.open([still(), whole[: len(whole) * 2 // 3]])
    with pytest.raises(BadVideo, match=r"^Picture 2: .*damaged"):
        slides.get_frames(grid(slides.span, 2), 64)


def test_a_bomb_is_refused_by_its_header() -> None:
    with pytest.raises(BadVideo, match="max_pixels is 99"):
        ImageSequence.open([still(size=(10, 10))], limits=VideoLimits(max_pixels=99))
    huge = bytearray(still())
    huge[16:24] = (50_000).to_bytes(4, "big") * 2  # width and height of a PNG
    with pytest.raises(BadVideo, match=r"Picture 1: "):
        ImageSequence.open([bytes(huge)])


@pytest.mark.parametrize(
    "times", [[0.0], [0.0, 0.0], [1.0, 0.5], [-1.0, 0.0], [0.0, float("nan")], [0.0, float("inf")]]
)
def test_seconds_that_make_no_sense(times: list[float]) -> None:
    with pytest.raises(BadVideo, match="second"):
        show(2, times)


def test_limits_hold() -> None:
    with pytest.raises(BadVideo, match="max_frames"):
        ImageSequence.open([still()] * 3, limits=VideoLimits(max_frames=2))
    with pytest.raises(BadVideo, match="max_seconds"):
        ImageSequence.open([still()] * 2, [0, 100], limits=VideoLimits(max_seconds=10))
    with pytest.raises(BadVideo, match="no picture"):
        ImageSequence.open([])


def test_the_same_pictures_are_the_same_content() -> None:
    assert show(2).id == show(2).id != show(3).id
    assert show(2).id != show(2, [0, 2]).id


def test_a_frame_is_decoded_once() -> None:
    cache = FrameCache(10**6)
    slides = ImageSequence.open([still(9)], cache=cache)
    first, second = (slides.get_frames((SampleWindow.at(0),), 8).frames[0] for _ in range(2))
    assert first is second
    assert pickle.loads(pickle.dumps(slides)).id == slides.id


def test_a_look_can_be_stopped() -> None:
    stop = Event()
    stop.set()
    with pytest.raises(DecodingStopped):
        show(2).get_frames((SampleWindow.at(0),), 8, stop)
    with pytest.raises(ValueError, match="side"):
        show(2).get_frames((SampleWindow.at(0),), 0)
