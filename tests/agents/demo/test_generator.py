"""Videos: the same for the same seed, and true to what they say about themselves."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
from typer.testing import CliRunner

from agents.demo.__main__ import cli
from agents.demo.encoder import encode_video, subtitles_srt
from agents.demo.generator import COLOURS, FPS, RGB, SHAPES, DemoVideo, make_video
from agents.demo.questions import ask_about


def short(seed: int) -> DemoVideo:
    """The first shots of a video: encoding takes most of the time of these tests."""
    video = make_video(seed)
    return replace(video, shots=video.shots[:4])


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> list[np.ndarray]:
    """All decoded frames of one video."""
    path = tmp_path_factory.mktemp("film") / "7.mp4"
    encode_video(short(7), path)
    with av.open(path) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def test_same_seed_same_video(tmp_path: Path) -> None:
    for name in ("a.mp4", "b.mp4"):
        encode_video(short(11), tmp_path / name)
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "b.mp4").read_bytes()
    assert make_video(11) == make_video(11) != make_video(12)
    assert ask_about(make_video(11), 9) == ask_about(make_video(11), 9)


def test_a_video_stays_what_it_was() -> None:
    """Seeds are published: a change here changes everybody's videos."""
    shots = make_video(1_000_000_000).shots
    assert [(shot.what, shot.direction, shot.first) for shot in shots[:3]] == [
        ("red square", "left", 0),
        ("yellow cross", "down", 16),
        ("blue triangle", "right", 75),
    ]


def test_truth_matches_the_decoded_pixels(images: list[np.ndarray]) -> None:
    video = short(7)
    assert len(images) == video.frames
    for shot in video.shots:
        for frame in (0, shot.frames // 2, shot.frames - 1):
            x, y = shot.place(frame)
            seen = images[shot.first + frame][y - 3 : y + 4, x - 3 : x + 4].reshape(-1, 3).mean(0)
            nearest = min(COLOURS, key=lambda colour: float(np.abs(seen - RGB[colour]).sum()))
            assert nearest == shot.colour


def test_shapes_move_the_way_the_truth_says(images: list[np.ndarray]) -> None:
    video = short(7)
    for shot in (shot for shot in video.shots if shot.frames > FPS):
        before, after = (_middle(images[shot.first + f], shot.ground) for f in (2, shot.frames - 2))
        axis = 0 if shot.direction in ("left", "right") else 1
        sign = 1 if shot.direction in ("right", "down") else -1
        assert (after - before)[axis] * sign > 20
        assert abs((after - before)[1 - axis]) < 6


def _middle(picture: np.ndarray, ground: int) -> np.ndarray:
    rows, columns = np.nonzero(np.abs(picture.astype(int) - ground).max(2) > 40)
    return np.array([columns.mean(), rows.mean()])


def test_default_videos_have_the_shape_that_is_promised() -> None:
    videos = [make_video(seed) for seed in range(200)]
    assert all(7 <= len(video.shots) <= 12 for video in videos)
    lengths = [shot.frames / FPS for video in videos for shot in video.shots]
    assert 0.3 < np.mean([length <= 1.5 for length in lengths]) < 0.5
    for video in videos:
        for before, after in zip(video.shots, video.shots[1:], strict=False):
            assert before.shape != after.shape and before.colour != after.colour
            assert before.end == after.start
    assert {shot.what for video in videos for shot in video.shots} == {f"{c} {s}" for c in COLOURS for s in SHAPES}


def test_long_videos_have_hundreds_of_shots() -> None:
    video = make_video(3, minutes=30)
    assert 1800 <= video.duration < 1806
    assert len(video.shots) > 300


def test_subtitles_are_timed_to_the_shots() -> None:
    video = next(video for video in map(make_video, range(50)) if video.lines)
    text = subtitles_srt(video)
    assert text.count("-->") == len(video.lines)
    assert video.lines[0].text in text


def test_the_command_writes_video_and_truth(tmp_path: Path) -> None:
    out = tmp_path / "film.mp4"
    assert CliRunner().invoke(cli, ["video", "21", str(out)]).exit_code == 0
    truth = json.loads(out.with_suffix(".json").read_text())
    video = make_video(21)
    assert truth["duration"] == pytest.approx(video.duration, abs=1e-3)
    assert len(truth["shots"]) == len(video.shots)
    assert set(truth["questions"][0]) == {"question", "options", "answer", "kind", "evidence"}
    assert out.with_suffix(".srt").exists() == bool(video.lines)
    with av.open(out) as container:
        assert container.streams.video[0].codec_context.name == "h264"
