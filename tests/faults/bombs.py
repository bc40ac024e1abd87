"""Small files that claim to be, or become, something huge."""

from __future__ import annotations

import struct
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.video.stream import VideoStream

from tests.videos import VideoScript, steady

_VIDEO = VideoScript(".mp4", times=steady(25), muxer={"movflags": "faststart"})
_PLAIN = VideoScript(".mkv", "libvpx", times=steady(3), options={"deadline": "realtime", "cpu-used": "8"})


def _vp8_size(width: int, height: int) -> Callable[[Path], bytes]:
    """Pictures that claim another size in every key picture."""

    def make(folder: Path) -> bytes:
        data = _PLAIN.shoot(folder, "vp8").read_bytes()
        true = b"\x9d\x01\x2a" + struct.pack("<HH", 160, 120)
        assert true in data
        return data.replace(true, b"\x9d\x01\x2a" + struct.pack("<HH", width, height))

    return make


def _raw_avi(folder: Path) -> bytes:
    """Raw pictures, whose size is what the header says."""
    data = VideoScript(".avi", "rawvideo", steady(3, 1), Fraction(1, 25), options={}).shoot(folder, "raw").read_bytes()
    return data.replace(struct.pack("<II", 160, 120), struct.pack("<II", 30000, 30000))


def _box(name: bytes, offset: int, value: bytes) -> Callable[[Path], bytes]:
    """A video with some bytes of one of its boxes replaced; the offset counts from the box's name."""

    def make(folder: Path) -> bytes:
        data = bytearray(_VIDEO.shoot(folder, "boxes").read_bytes())
        place = data.index(name) + offset
        data[place : place + len(value)] = value
        return bytes(data)

    return make


def _nested_boxes(folder: Path) -> bytes:
    """Boxes within boxes, three thousand deep."""
    boxes = b"".join(struct.pack(">I4s", 8 * (3000 - depth), b"moov") for depth in range(3000))
    return _VIDEO.shoot(folder, "nested").read_bytes()[:32] + boxes


def _many_tracks(folder: Path) -> bytes:
    """The same track a thousand times."""
    data = _VIDEO.shoot(folder, "tracks").read_bytes()
    start = data.index(b"trak") - 4
    size = struct.unpack(">I", data[start : start + 4])[0]
    moov = data.index(b"moov") - 4
    tracks = data[start : start + size] * 1000
    whole = struct.unpack(">I", data[moov : moov + 4])[0] + len(tracks)
    return data[:moov] + struct.pack(">I", whole) + data[moov + 4 : start] + tracks + data[start:]


def _sync_bytes(_: Path) -> bytes:
    """A transport stream of nothing but the mark that begins a packet."""
    return b"\x47" * 4_000_000


def _noise_stream(folder: Path) -> bytes:
    """Transport packets of as many streams as there can be."""
    good = VideoScript(".ts", times=steady(25)).shoot(folder, "streams").read_bytes()
    packets = [b"\x47" + struct.pack(">H", 0x4000 | number % 8192) + b"\x10" + bytes(184) for number in range(20_000)]
    return good + b"".join(packets)


def _open_ended_mkv(folder: Path) -> bytes:
    """Elements whose sizes are as large as can be written."""
    data = bytearray(VideoScript(".mkv").shoot(folder, "sizes").read_bytes())
    start = data.index(b"\x18\x53\x80\x67")
    data[start + 4 : start + 12] = b"\x01\xff\xff\xff\xff\xff\xff\xff"
    for place in range(start + 12, start + 200, 9):
        data[place] = 0x01
    return bytes(data)


def _wide(folder: Path) -> bytes:
    """Pictures as large as allowed and one colour, so that little becomes gigabytes of pixels."""
    path = folder / "wide.avi"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mjpeg", rate=25)
        assert isinstance(stream, VideoStream)
        stream.width, stream.height, stream.pix_fmt = 8192, 4096, "yuvj420p"
        picture = av.VideoFrame.from_ndarray(np.zeros((4096 * 3 // 2, 8192), np.uint8), "yuv420p")
        (first,) = stream.encode(picture) or stream.encode(None)
        data = bytes(first)
        for number in range(60):
            packet = av.Packet(data)
            packet.pts = packet.dts = number
            packet.stream, packet.time_base, packet.is_keyframe = stream, Fraction(1, 25), True
            container.mux(packet)
    return path.read_bytes()


_HUGE = struct.pack(">I", 0x7FFFFFFF)
BOMBS: dict[str, Callable[[Path], bytes]] = {
    "pictures of 16383 x 16383": _vp8_size(16383, 16383),
    "pictures without a size": _vp8_size(0, 0),
    "raw pictures of 30000 x 30000": _raw_avi,
    "two billion pictures": _box(b"stts", 8, struct.pack(">III", 1, 0x7FFFFFFF, 1)),
    "two billion entries of times": _box(b"stts", 8, _HUGE),
    "two billion sizes": _box(b"stsz", 12, _HUGE),
    "two billion sizes of one": _box(b"stsz", 8, struct.pack(">II", 1, 0x7FFFFFFF)),
    "two billion chunks": _box(b"stsc", 8, _HUGE),
    "pictures of four gigabytes": _box(b"stsz", 16, b"\xff\xff\xff\xff"),
    "a tick of nothing": _box(b"mdhd", 16, bytes(4)),
    "a tick of two billionths": _box(b"mdhd", 16, _HUGE),
    "a century long": _box(b"stts", 8, struct.pack(">III", 1, 25, 0x7FFFFFFF)),
    "a box without end": _box(b"moov", -4, b"\xff\xff\xff\xff"),
    "a box of sixteen exabytes": _box(b"moov", -4, struct.pack(">I", 1)),
    "boxes in boxes": _nested_boxes,
    "a thousand tracks": _many_tracks,
    "nothing but sync bytes": _sync_bytes,
    "eight thousand streams": _noise_stream,
    "elements without end": _open_ended_mkv,
    "sixty pictures of 8192 x 4096": _wide,
}
