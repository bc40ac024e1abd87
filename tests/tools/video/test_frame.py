"""A frame resizes, crops and becomes a JPEG; nobody can change its pixels."""

from __future__ import annotations

import pickle

import cv2
import numpy as np
import pytest

from tests.videos import number, paint
from tools.video.frame import Frame, fit_size

FRAME = Frame(1.5, paint(0b1010_0101_0011, 320, 240))


def test_a_jpeg_holds_the_picture_in_the_right_colours() -> None:
    image = np.zeros((48, 64, 3), np.uint8)
    image[:, :, 0] = 200
    data = Frame(0.0, image).jpeg(95)
    assert data[:3] == b"\xff\xd8\xff"
    back = cv2.cvtColor(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
    assert np.abs(back.astype(int) - image).max() < 6
    assert len(FRAME.jpeg(30)) < len(FRAME.jpeg(95))


def test_a_small_picture_becomes_a_file_that_loses_nothing_and_a_large_one_a_small_file() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (129, 128, 3)).astype(np.uint8)
    small, large = Frame(0.0, noise[:128]).file(), Frame(0.0, noise).file()
    back = cv2.cvtColor(cv2.imdecode(np.frombuffer(small.data, np.uint8), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
    assert small.kind == "image/png" and np.array_equal(back, noise[:128])
    assert large.kind == "image/jpeg" and len(large.data) < 0.75 * len(small.data)


@pytest.mark.parametrize(
    ("size", "side", "expected"),
    [
        ((640, 360), 448, (448, 252)),
        ((360, 640), 448, (252, 448)),
        ((64, 48), 448, (64, 48)),
        ((5000, 1), 100, (100, 1)),
    ],
)
def test_fit_keeps_the_shape_and_never_enlarges(size: tuple[int, int], side: int, expected: tuple[int, int]) -> None:
    assert fit_size(*size, side) == expected


def test_resizing_keeps_the_second_and_the_picture() -> None:
    small = FRAME.resized(160)
    assert (small.width, small.height, small.time) == (160, 120, 1.5)
    assert number(small.image) == 0b1010_0101_0011
    assert FRAME.resized(320) is FRAME
    assert FRAME.resized(1000) is FRAME


def test_cropping_takes_fractions_of_the_picture() -> None:
    part = FRAME.cropped(0.25, 0.5, 0.75, 1.0)
    assert np.array_equal(part.image, FRAME.image[120:240, 80:240])
    assert part.time == 1.5
    assert FRAME.cropped(0.999, 0.999, 1, 1).image.shape == (1, 1, 3)


@pytest.mark.parametrize(
    "box", [(0.5, 0, 0.5, 1), (0, 0.6, 1, 0.5), (-0.1, 0, 1, 1), (0, 0, 1, 1.1), (float("nan"), 0, 1, 1)]
)
def test_a_box_outside_the_picture_is_refused(box: tuple[float, float, float, float]) -> None:
    with pytest.raises(ValueError, match="box"):
        FRAME.cropped(*box)


def test_pixels_cannot_be_changed_but_the_makers_array_can() -> None:
    own = np.zeros((4, 4, 3), np.uint8)
    frame = Frame(0.0, own)
    with pytest.raises(ValueError, match="read-only"):
        frame.image[0, 0] = 1
    own[0, 0] = 1


def test_a_frame_survives_pickling() -> None:
    back = pickle.loads(pickle.dumps(FRAME))
    assert back.time == FRAME.time
    assert np.array_equal(back.image, FRAME.image)
