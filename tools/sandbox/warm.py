"""Make a process ready to decode without opening a file: what is imported only when needed is imported now."""

import importlib
import pkgutil
import tempfile
from pathlib import Path

import av
import numpy as np

from tools.decoders import load
from tools.film import probe
from tools.limits import Limits

_SIDE = 64
_FRAMES = 3


def warm(library: str) -> None:
    """Import all of PyAV, and look at a film made in memory with a library."""
    for module in pkgutil.walk_packages(av.__path__, "av."):
        if module.name != "av.__main__":
            importlib.import_module(module.name)
    with tempfile.TemporaryFile() as file:
        path = Path(f"/dev/fd/{file.fileno()}")
        _shoot(path)
        film = probe(path, "", Limits())
        load(library).check(film)
        load(library).read(film, range(_FRAMES), _SIDE)


def _shoot(path: Path) -> None:
    with av.open(str(path), "w", format="mp4") as container:
        stream = container.add_stream("mpeg4", rate=1)
        stream.width, stream.height, stream.pix_fmt = _SIDE, _SIDE, "yuv420p"
        for index in range(_FRAMES):
            image = np.full((_SIDE, _SIDE, 3), 80 * index, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, "rgb24")))
        container.mux(stream.encode(None))
