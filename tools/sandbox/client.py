"""A decoder that has confined worker processes do the work, one for each task."""

import hashlib
import logging
import os
import pickle
import signal
import socket
import subprocess
import sys
import weakref
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from threading import BoundedSemaphore, Event, Lock
from time import monotonic
from types import TracebackType
from typing import Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from tools.sandbox.protocol import TICK_SECONDS, Channel, ChannelError, DeadlineExceeded, WorkerMessage
from tools.sandbox.restrictions import ResourceLimits
from tools.sandbox.tasks import (
    DecodeTask,
    ImagesTask,
    ProbeTask,
    SandboxReport,
    SubtitlesTask,
    TaskFailure,
    TaskRequest,
    WorkerTask,
)
from tools.video import decoders
from tools.video.decoders import DecodedFrames
from tools.video.limits import BadVideo, DecodingStopped, VideoLimits
from tools.video.probe import ProbedVideo, file_sha256, file_stamp
from tools.video.subtitles import Cue


@dataclass(slots=True)
class Quarantine:
    """Refuses a video by content id after so many failures, for so many seconds since the last; forgets the oldest."""

    failures: int = 2
    seconds: float = 600.0
    kept: int = 4096
    _known: OrderedDict[str, tuple[int, float]] = field(default_factory=OrderedDict)
    _lock: Lock = field(default_factory=Lock)

    def check(self, video_id: str) -> None:
        """Raise BadVideo for a video that has failed too often."""
        with self._lock:
            count, last = self._known.get(video_id, (0, 0.0))
            if count and monotonic() - last > self.seconds:
                del self._known[video_id]
            elif count >= self.failures:
                raise BadVideo("This video made its decoder fail again and again, and is not tried any more for now.")

    def add(self, video_id: str) -> None:
        """Note a failure."""
        with self._lock:
            count, _ = self._known.pop(video_id, (0, 0.0))
            self._known[video_id] = (count + 1, monotonic())
            while len(self._known) > self.kept:
                self._known.popitem(last=False)


_START_SECONDS = 60.0
_END_SECONDS = 5.0
_REPORT_BYTES = 1 << 16
_INHERITED = ("LD_LIBRARY_PATH", "PATH", "PYTHONHOME", "TMPDIR")
_SINGLE = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
"""Forking is only sound in a process with one thread."""


class WorkerLauncher:
    """Starts the process and asks it for workers; safe under threads. It inherits no secret of the environment."""

    def __init__(self, library: str) -> None:
        self._control, there = socket.socketpair()
        self._lock = Lock()
        self._report: SandboxReport | None = None
        with there:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "tools.sandbox", str(there.fileno()), library],
                pass_fds=[there.fileno()],
                env=_environment(),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                start_new_session=True,
            )

    @property
    def report(self) -> SandboxReport:
        """What confines the workers; waits until the process is ready. Raises OSError if it does not get there."""
        with self._lock:
            if self._report is None:
                try:
                    said = Channel(self._control, _START_SECONDS).receive(_REPORT_BYTES)
                except (ChannelError, DeadlineExceeded) as error:
                    raise OSError("The process that starts decoders does not come up.") from error
                self._report = SandboxReport.model_validate_json(said.text)
            return self._report

    @property
    def lives(self) -> bool:
        """Whether the process runs."""
        return self._process.poll() is None

    def start_worker(self, video_fd: int) -> "WorkerHandle":
        """A worker for one video, given as a descriptor. Raises OSError if there can be none."""
        _ = self.report
        stream, its_stream = socket.socketpair()
        leash, its_leash = socket.socketpair()
        with its_stream, its_leash:
            try:
                with self._lock:
                    socket.send_fds(self._control, [b"!"], [video_fd, its_stream.fileno(), its_leash.fileno()])
            except OSError:
                stream.close()
                leash.close()
                raise
        return WorkerHandle(stream, leash)

    def close(self) -> None:
        """End the process and all workers. Can be called twice."""
        self._control.close()
        try:
            self._process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


class WorkerHandle:
    """A worker, as the service sees it. Leaving the context ends it."""

    def __init__(self, stream: socket.socket, leash: socket.socket) -> None:
        self.stream = stream
        self._leash = leash

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._leash.close()
        self.stream.close()

    def status(self) -> int | None:
        """How a worker ended that has: as of os.wait; None if its maker ended with it."""
        self._leash.settimeout(_END_SECONDS)
        with suppress(OSError):
            told = self._leash.recv(4)
            return int.from_bytes(told, "little") if told else None
        return None


def _environment() -> dict[str, str]:
    kept = {name: os.environ[name] for name in _INHERITED if name in os.environ}
    return {**kept, **_SINGLE, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}


R = TypeVar("R")

_LOG = logging.getLogger("secondlook.sandbox")
_OPEN_SECONDS = 10.0
_BYTES_PER_SECOND = 20_000_000
"""Slowest disk and demuxer that still open a large video in time."""

_GRACE_SECONDS = 5.0
"""How much longer than its limit a look may take that ends itself at the limit."""

_FAILURE_PREFIX = b'{"failed"'


class Sandbox:
    """Decodes in at most `workers` processes at once, each with `memory` bytes for one task; safe under threads.

    `open_seconds` bounds the opening of a video (and a second more for every 20 MB), by the clock; each call of
    `decode` is bounded by the limits of its video. All failures become BadVideo. Starts by itself with the first task.
    `workers_lost` counts workers that were lost: crashed, out of time or out of memory.
    """

    def __init__(
        self,
        library: str = "pyav",
        *,
        workers: int = 2,
        memory: int = 1536 << 20,
        open_seconds: float = _OPEN_SECONDS,
        quarantine: Quarantine | None = None,
    ) -> None:
        decoders.load_decoder(library)
        self._library = library
        self._memory = memory
        self._open_seconds = open_seconds
        self._places = BoundedSemaphore(workers)
        self._quarantine = quarantine or Quarantine()
        self._lock = Lock()
        self._launcher: WorkerLauncher | None = None
        self.workers_lost = 0

    @property
    def name(self) -> str:
        """The library that decodes."""
        return self._library

    def start(self) -> None:
        """Start without waiting, so that the first video does not have to."""
        self._running()

    @property
    def report(self) -> SandboxReport:
        """What confines the workers here, as tried out. Raises OSError if they cannot be started at all."""
        return self._running().report

    def close(self) -> None:
        """End all processes. A task after this starts them anew."""
        with self._lock:
            if self._launcher is not None:
                self._launcher.close()
            self._launcher = None

    def probe(self, path: Path, limits: VideoLimits, stop: Event | None = None) -> ProbedVideo:
        """See `Decoder.probe`."""
        mark = file_stamp(path)
        limits.check_bytes(mark[0])
        video_id = file_sha256(path)
        seconds = self._open_seconds + mark[0] / _BYTES_PER_SECOND
        return self.run(ProbeTask(self._library, limits, path, video_id, mark), path, video_id, seconds, stop)

    def decode(self, video: ProbedVideo, wanted: Sequence[int], side: int, stop: Event | None = None) -> DecodedFrames:
        """See `DecoderLibrary.decode`."""
        task = DecodeTask(self._library, video, tuple(wanted), side)
        return self.run(task, video.path, video.id, video.limits.max_decode_seconds + _GRACE_SECONDS, stop)

    def read_subtitles(
        self, video: ProbedVideo, beside: str | None = None, stop: Event | None = None
    ) -> tuple[Cue, ...]:
        """See `Decoder.read_subtitles`."""
        content = video.id if beside is None else hashlib.sha256(beside.encode("utf-8", "replace")).hexdigest()
        seconds = self._open_seconds + video.metadata.bytes / _BYTES_PER_SECOND
        return self.run(SubtitlesTask(video, beside), video.path, content, seconds, stop)

    def check_images(self, pictures: Mapping[int, bytes], limits: VideoLimits) -> None:
        """See `Decoder.check_images`."""
        self._draw(ImagesTask(pictures, None, limits), None)

    def decode_images(
        self, pictures: Mapping[int, bytes], side: int, limits: VideoLimits, stop: Event | None = None
    ) -> dict[int, NDArray[np.uint8]]:
        """See `Decoder.decode_images`."""
        return self._draw(ImagesTask(pictures, side, limits), stop)

    def _draw(self, task: ImagesTask, stop: Event | None) -> dict[int, NDArray[np.uint8]]:
        """Pictures travel with their task, so the file is an empty one."""
        content = hashlib.sha256()
        for data in task.pictures.values():
            content.update(hashlib.sha256(data).digest())
        seconds = task.limits.max_decode_seconds + _GRACE_SECONDS
        return self.run(task, Path(os.devnull), content.hexdigest(), seconds, stop)

    def run(self, task: WorkerTask[R], path: Path, video_id: str, seconds: float, stop: Event | None = None) -> R:
        """Have a worker do a task with a file whose content has the id `video_id`. Raises BadVideo, DecodingStopped."""
        self._quarantine.check(video_id)
        order = TaskRequest(task, ResourceLimits(self._memory + task.max_reply_bytes, seconds))
        with self._place(stop), _open_descriptor(path) as file:
            try:
                message = self._ask(order, file, stop)
                if message.text.startswith(_FAILURE_PREFIX):
                    raise self._explained(video_id, TaskFailure.model_validate_json(message.text))
                return task.parse_reply(message)
            except DeadlineExceeded:
                raise self._worker_lost(
                    video_id, f"Decoding this video took longer than {seconds:.0f} seconds."
                ) from None
            except (ChannelError, ValueError) as error:
                _LOG.warning("a worker failed on the video %s: %s", video_id, error)
                raise self._worker_lost(video_id, "This video made its decoder fail and was given up.") from None

    def _ask(self, order: TaskRequest, file: int, stop: Event | None) -> WorkerMessage:
        """One try; and one more if the process that makes workers is lost, which no video can bring about."""
        for last in (False, True):
            try:
                with self._running().start_worker(file) as worker:
                    return _exchange(worker, order, stop)
            except OSError:
                if last:
                    raise
        raise AssertionError

    def _explained(self, video_id: str, failed: TaskFailure) -> BadVideo:
        if failed.failed == "bad":
            return BadVideo(failed.words)
        if failed.failed == "memory":
            return self._worker_lost(video_id, f"Decoding this video takes more memory than {self._memory} bytes.")
        _LOG.warning("a worker could not finish with the video %s: %s", video_id, failed.words)
        return BadVideo("This video cannot be read: its decoder stumbled over it.")

    def _worker_lost(self, video_id: str, words: str) -> BadVideo:
        self._quarantine.add(video_id)
        self.workers_lost += 1
        return BadVideo(words)

    @contextmanager
    def _place(self, stop: Event | None) -> Iterator[None]:
        while not self._places.acquire(timeout=TICK_SECONDS):
            if stop is not None and stop.is_set():
                raise DecodingStopped
        try:
            yield
        finally:
            self._places.release()

    def _running(self) -> WorkerLauncher:
        with self._lock:
            if self._launcher is None or not self._launcher.lives:
                if self._launcher is not None:
                    _LOG.error("the process that starts decoders was lost and is started again")
                    self._launcher.close()
                self._launcher = WorkerLauncher(self._library)
                weakref.finalize(self, self._launcher.close)
            return self._launcher


def _exchange(worker: WorkerHandle, order: TaskRequest, stop: Event | None) -> WorkerMessage:
    """Raises ChannelError with how the worker ended, DeadlineExceeded, DecodingStopped; OSError if the server ended."""
    line = Channel(worker.stream, order.allowance.seconds, stop)
    try:
        line.send(WorkerMessage(pickle.dumps(order)))
        return line.receive(order.task.max_reply_bytes)
    except ChannelError as error:
        status = worker.status()
        if status is None:
            raise OSError("the process that starts decoders was lost") from error
        if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGXCPU:
            raise DeadlineExceeded from error
        raise ChannelError(f"{error} (status {os.waitstatus_to_exitcode(status)})") from error


@contextmanager
def _open_descriptor(path: Path) -> Iterator[int]:
    """A descriptor of a file. Raises BadVideo if there is none any more."""
    try:
        file = os.open(path, os.O_RDONLY)
    except OSError as error:
        raise BadVideo("There is no file at this path.") from error
    try:
        yield file
    finally:
        os.close(file)
