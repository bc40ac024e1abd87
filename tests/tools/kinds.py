"""Every kind of film that we read."""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from tests.tools.studio import Script, steady

JERKY = tuple(int(t) for t in np.cumsum(np.random.default_rng(3).choice([17, 33, 40, 400], 60)))

SCRIPTS = {
    "h264 with B-pictures": Script(".mp4"),
    "h264 open groups": Script(
        ".mp4", options={"x264-params": "open-gop=1:keyint=12:min-keyint=12:bframes=3:scenecut=0"}
    ),
    "h264 one group": Script(".mp4", options={"x264-params": "keyint=infinite:scenecut=0"}),
    "h264 all key": Script(".mp4", options={"g": "1"}),
    "h264 4:4:4": Script(".mkv", pixels="yuv444p"),
    "h264 10 bit": Script(".mp4", pixels="yuv420p10le"),
    "fragmented mp4": Script(".mp4", muxer={"movflags": "frag_keyframe+empty_moov+default_base_moof"}),
    "mov starting late": Script(".mov", times=steady(60, start=5000)),
    "mkv without length": Script(".mkv", muxer={"live": "1"}),
    "mkv starting late": Script(".mkv", times=steady(60, start=5000)),
    "webm vp8": Script(".webm", "libvpx", options={"g": "12", "auto-alt-ref": "1", "lag-in-frames": "8"}),
    "webm vp9": Script(".webm", "libvpx-vp9", options={"g": "12", "deadline": "realtime", "cpu-used": "8"}),
    "webm live": Script(".webm", "libvpx-vp9", options={"g": "12", "deadline": "realtime"}, muxer={"live": "1"}),
    "hevc open groups": Script(
        ".mp4",
        "libx265",
        options={"x265-params": "log-level=none:keyint=12:open-gop=1", "preset": "ultrafast"},
    ),
    "hevc closed groups": Script(
        ".mp4",
        "libx265",
        options={"x265-params": "log-level=none:keyint=12:open-gop=0", "preset": "ultrafast"},
    ),
    "hevc 10 bit": Script(
        ".mkv",
        "libx265",
        pixels="yuv420p10le",
        options={"x265-params": "log-level=none:keyint=12:open-gop=0", "preset": "ultrafast"},
    ),
    "av1": Script(".mp4", "libsvtav1", options={"g": "12", "preset": "8", "crf": "20"}),
    "mpeg-ts": Script(".ts"),
    "mpeg-ts open groups": Script(
        ".ts", options={"x264-params": "open-gop=1:keyint=12:min-keyint=12:bframes=3:scenecut=0"}
    ),
    "mpeg-ts starting late": Script(".ts", times=steady(60, start=50000)),
    "mpeg-ps": Script(".mpg", "mpeg2video", steady(60, 1), Fraction(1, 25), {"g": "12", "bf": "2"}),
    "avi mpeg4": Script(".avi", "mpeg4", steady(60, 1), Fraction(1, 25), {"g": "12", "bf": "2"}),
    "avi h264": Script(".avi", times=steady(60, 1), tick=Fraction(1, 25)),
    "avi mjpeg": Script(".avi", "mjpeg", steady(60, 1), Fraction(1, 25), {}, pixels="yuvj420p"),
    "flv": Script(".flv"),
    "variable rate mp4": Script(".mp4", times=JERKY),
    "variable rate mkv": Script(".mkv", times=JERKY),
    "one picture": Script(".mp4", times=(0,)),
    "two pictures": Script(".mkv", times=(0, 40)),
}

DECORD_READS = (
    "h264 with B-pictures",
    "h264 one group",
    "h264 all key",
    "h264 4:4:4",
    "h264 10 bit",
    "mov starting late",
    "mkv starting late",
    "webm vp8",
    "webm vp9",
    "hevc closed groups",
    "hevc 10 bit",
    "variable rate mp4",
    "variable rate mkv",
    "one picture",
)
