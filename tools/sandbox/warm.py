"""Make a process ready to decode without opening a file: what is imported only when needed is imported now."""

import importlib
import io
import pkgutil
import tempfile
from pathlib import Path

import av
import cv2
import numpy as np
from PIL import Image

from tools import picture
from tools.decoders import load
from tools.film import probe
from tools.limits import Limits

_SIDE = 64
_FRAMES = 3


def warm(library: str) -> None:
    """Import all of PyAV and Pillow, look at a film made here with a library, and at a picture of every format."""
    cv2.setNumThreads(1)
    for module in pkgutil.walk_packages(av.__path__, "av."):
        if module.name != "av.__main__":
            importlib.import_module(module.name)
    with tempfile.TemporaryFile() as file:
        path = Path(f"/dev/fd/{file.fileno()}")
        _shoot(path)
        film = probe(path, "", Limits())
        load(library).check(film)
        load(library).read(film, range(_FRAMES), _SIDE)

    Image.init()
    for kind in picture.FORMATS:
        data = io.BytesIO()
        exif = {} if kind in ("GIF", "BMP") else {"exif": _turned()}
        Image.new("RGB", (_SIDE, _SIDE)).save(data, kind, **exif)
        picture.decode(data.getvalue(), _SIDE, Limits())


def _turned() -> Image.Exif:
    """What a camera writes that was held upside down."""
    exif = Image.Exif()
    exif[0x0112] = 3
    return exif


def _shoot(path: Path) -> None:
    with av.open(str(path), "w", format="mp4") as container:
        stream = container.add_stream("mpeg4", rate=1)
        stream.width, stream.height, stream.pix_fmt = _SIDE, _SIDE, "yuv420p"
        for index in range(_FRAMES):
            image = np.full((_SIDE, _SIDE, 3), 80 * index, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, "rgb24")))
        container.mux(stream.encode(None))
