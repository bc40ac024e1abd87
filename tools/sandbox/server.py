"""The process that forks workers: it has everything imported, never reads a video, and forks one worker a task.

It ends when the service does, whose end of the control socket then closes, and takes all workers along.
"""

import gc
import importlib
import io
import os
import pkgutil
import selectors
import signal
import socket
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

import av
import cv2
import numpy as np
from PIL import Image

from tools.sandbox import restrictions
from tools.sandbox.protocol import Channel, WorkerMessage
from tools.sandbox.restrictions import ResourceLimits, Restrictions, leave_namespaces
from tools.sandbox.tasks import SandboxReport, run_task, try_restrictions
from tools.video import still_images
from tools.video.decoders import load_decoder
from tools.video.limits import VideoLimits
from tools.video.probe import probe_video

_SIDE = 64
_FRAMES = 3


def warm_up(library: str) -> None:
    """Import all of PyAV and Pillow, look at a video made here with a library, and at a picture of every format."""
    cv2.setNumThreads(1)
    for module in pkgutil.walk_packages(av.__path__, "av."):
        if module.name != "av.__main__":
            importlib.import_module(module.name)
    with tempfile.TemporaryFile() as file:
        path = Path(f"/dev/fd/{file.fileno()}")
        _write_video(path)
        video = probe_video(path, "", VideoLimits())
        load_decoder(library).check_readable(video)
        load_decoder(library).decode(video, range(_FRAMES), _SIDE)

    Image.init()
    for kind in still_images.IMAGE_FORMATS:
        data = io.BytesIO()
        exif = {} if kind in ("GIF", "BMP") else {"exif": _rotated_exif()}
        Image.new("RGB", (_SIDE, _SIDE)).save(data, kind, **exif)
        still_images.decode_image(data.getvalue(), _SIDE, VideoLimits())


def _rotated_exif() -> Image.Exif:
    """What a camera writes that was held upside down."""
    exif = Image.Exif()
    exif[0x0112] = 3
    return exif


def _write_video(path: Path) -> None:
    with av.open(str(path), "w", format="mp4") as container:
        stream = container.add_stream("mpeg4", rate=1)
        stream.width, stream.height, stream.pix_fmt = _SIDE, _SIDE, "yuv420p"
        for index in range(_FRAMES):
            image = np.full((_SIDE, _SIDE, 3), 80 * index, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, "rgb24")))
        container.mux(stream.encode(None))


TRIAL = ResourceLimits(memory=256 << 20, seconds=5.0)
OPENERS = frozenset({"decord"})
"""Libraries that open their file by themselves and start threads."""

_HIGHEST = 1 << 20


class WorkerServer:
    """Forks workers for the service at the other end of `control`."""

    def __init__(self, control: socket.socket, restrictions: Restrictions) -> None:
        self._control = control
        self._restrictions = restrictions
        self._leashes: dict[int, socket.socket] = {}
        self._selector = selectors.DefaultSelector()
        self._ended, self._wake = socket.socketpair()
        for end in (self._ended, self._wake):
            end.setblocking(False)
        self._selector.register(control, selectors.EVENT_READ)
        self._selector.register(self._ended, selectors.EVENT_READ)

    def report(self, means: tuple[str, ...]) -> None:
        """Have a worker try what the restrictions prevent, and report it to the service."""
        here, there = socket.socketpair()
        child = os.fork()
        if child == 0:
            video = os.open(sys.executable, os.O_RDONLY)
            there.send(try_restrictions(self._restrictions, TRIAL, video).model_dump_json().encode())
            os._exit(0)
        there.close()
        with here:
            told = here.recv(1 << 16)
        os.waitpid(child, 0)
        found = SandboxReport.model_validate_json(told) if told else SandboxReport(means=(), open=("anything",))
        whole = found.model_copy(update={"means": means + found.means})
        Channel(self._control).send(WorkerMessage(whole.model_dump_json().encode()))

    def serve(self) -> None:
        """Serve requests for workers until the service ends."""
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self._wake.fileno(), warn_on_full_buffer=False)
        while True:
            for key, _ in self._selector.select():
                if key.fileobj is self._ended:
                    self._reap()
                elif key.fileobj is not self._control:
                    self._kill_worker(key.data)
                elif not self._fork_worker():
                    for child in self._leashes:
                        os.kill(child, signal.SIGKILL)
                    return

    def _fork_worker(self) -> bool:
        """Fork a worker for a video, a stream and a leash; False when the service has ended."""
        said, handles, _, _ = socket.recv_fds(self._control, 1, 3)
        if not said:
            return False
        video, stream, leash = handles
        server = os.getpid()
        child = os.fork()
        if child == 0:
            self._become_worker(server, video, stream)
        os.close(video)
        os.close(stream)
        self._leashes[child] = socket.socket(fileno=leash)
        self._leashes[child].setblocking(False)
        self._selector.register(leash, selectors.EVENT_READ, child)
        return True

    def _become_worker(self, server: int, video: int, stream: int) -> None:
        """In the child: keep two descriptors, do the work and end, whatever happens."""
        try:
            signal.set_wakeup_fd(-1)
            with suppress(OSError):
                restrictions.die_with_parent(signal.SIGKILL)
            if os.getppid() != server:
                return
            os.dup2(1, 2)  # what crashing libraries print belongs into no log
            low, high = sorted((video, stream))
            for first, end in ((3, low), (low + 1, high), (high + 1, _HIGHEST)):
                os.closerange(first, end)
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM, 0, stream) as line:
                run_task(line, video, self._restrictions)
        finally:
            os._exit(0)

    def _kill_worker(self, child: int) -> None:
        """End a worker whose leash the service let go: nobody waits for it. It may have ended just now."""
        if child in self._leashes:
            self._selector.unregister(self._leashes[child].fileno())
            os.kill(child, signal.SIGKILL)

    def _reap(self) -> None:
        """Reap the workers that have ended, and tell the service how, if it still listens."""
        with suppress(BlockingIOError):
            self._ended.recv(1 << 12)
        while self._leashes:
            child, status = os.waitpid(-1, os.WNOHANG)
            if child == 0:
                return
            with self._leashes.pop(child) as leash:
                with suppress(KeyError):
                    self._selector.unregister(leash.fileno())
                with suppress(OSError):
                    leash.send(status.to_bytes(4, "little"))


def main() -> None:
    """Entry point: the number of the control socket's descriptor and the library to decode with."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # whoever stops the service may still want to see its last answers
    control = socket.socket(fileno=int(sys.argv[1]))
    library = sys.argv[2]
    warm_up(library)
    means = leave_namespaces()
    server = WorkerServer(control, Restrictions.make(opens=library in OPENERS))
    gc.collect()
    gc.freeze()
    server.report(means)
    server.serve()
    os._exit(0)  # workers that are being killed would still wake what is being torn down
