"""A decoder whose work is done by confined processes, one for each task."""

import hashlib
import logging
import os
import pickle
import signal
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import BoundedSemaphore, Event, Lock
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from tools import decoders
from tools.decoders import Reading
from tools.film import Film, digest, stamp
from tools.limits import BadVideo, Limits, Stopped
from tools.sandbox.fence import Allowance
from tools.sandbox.launcher import Launcher, Worker
from tools.sandbox.quarantine import Quarantine
from tools.sandbox.stills import Draw
from tools.sandbox.tasks import Hear, Probe, Read, Task
from tools.sandbox.wire import TICK_SECONDS, Broken, Late, Line, Message
from tools.sandbox.worker import Failed, Order, Report
from tools.subtitles import Cue

R = TypeVar("R")

_LOG = logging.getLogger("secondlook.sandbox")
_OPEN_SECONDS = 10.0
_BYTES_PER_SECOND = 20_000_000
"""Slowest disk and demuxer that still open a large film in time."""

_GRACE_SECONDS = 5.0
"""How much longer than its limit a look may take that ends itself at the limit."""

_FAILED = b'{"failed"'


class Sandbox:
    """Decodes in at most `workers` processes at once, each with `memory` bytes for one task; safe under threads.

    `open_seconds` bounds the opening of a film (and a second more for every 20 MB), by the clock; a look is
    bounded by its film's limits. Failures of all kinds become BadVideo. Starts by itself with the first task.
    `struck` counts workers that were lost: crashed, out of time or out of memory.
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
        decoders.load(library)
        self._library = library
        self._memory = memory
        self._open_seconds = open_seconds
        self._places = BoundedSemaphore(workers)
        self._quarantine = quarantine or Quarantine()
        self._lock = Lock()
        self._launcher: Launcher | None = None
        self.struck = 0

    @property
    def name(self) -> str:
        """The library that decodes."""
        return self._library

    def start(self) -> None:
        """Start without waiting, so that the first film does not have to."""
        self._running()

    @property
    def report(self) -> Report:
        """What confines the workers here, as tried out. Raises OSError if they cannot be started at all."""
        return self._running().report

    def close(self) -> None:
        """End all processes. A task after this starts them anew."""
        with self._lock:
            if self._launcher is not None:
                self._launcher.close()
            self._launcher = None

    def probe(self, path: Path, limits: Limits, stop: Event | None = None) -> Film:
        """See `Decoder.probe`."""
        mark = stamp(path)
        limits.check_bytes(mark[0])
        film = digest(path)
        seconds = self._open_seconds + mark[0] / _BYTES_PER_SECOND
        return self.run(Probe(self._library, limits, path, film, mark), path, film, seconds, stop)

    def read(self, film: Film, wanted: Sequence[int], side: int, stop: Event | None = None) -> Reading:
        """See `Library.read`."""
        task = Read(self._library, film, tuple(wanted), side)
        return self.run(task, film.path, film.id, film.limits.max_look_seconds + _GRACE_SECONDS, stop)

    def hear(self, film: Film, beside: str | None = None, stop: Event | None = None) -> tuple[Cue, ...]:
        """See `Decoder.hear`."""
        content = film.id if beside is None else hashlib.sha256(beside.encode("utf-8", "replace")).hexdigest()
        seconds = self._open_seconds + film.info.bytes / _BYTES_PER_SECOND
        return self.run(Hear(film, beside), film.path, content, seconds, stop)

    def check(self, pictures: Mapping[int, bytes], limits: Limits) -> None:
        """See `Decoder.check`."""
        self._draw(Draw(pictures, None, limits), None)

    def draw(
        self, pictures: Mapping[int, bytes], side: int, limits: Limits, stop: Event | None = None
    ) -> dict[int, NDArray[np.uint8]]:
        """See `Decoder.draw`."""
        return self._draw(Draw(pictures, side, limits), stop)

    def _draw(self, task: Draw, stop: Event | None) -> dict[int, NDArray[np.uint8]]:
        """Pictures travel with their task, so the file is an empty one."""
        content = hashlib.sha256()
        for data in task.pictures.values():
            content.update(hashlib.sha256(data).digest())
        seconds = task.limits.max_look_seconds + _GRACE_SECONDS
        return self.run(task, Path(os.devnull), content.hexdigest(), seconds, stop)

    def run(self, task: Task[R], path: Path, film: str, seconds: float, stop: Event | None = None) -> R:
        """Have a worker do a task with a file whose content has the id `film`. Raises BadVideo, Stopped."""
        self._quarantine.check(film)
        order = Order(task, Allowance(self._memory + task.most, seconds))
        with self._place(stop), _opened(path) as file:
            try:
                message = self._ask(order, file, stop)
                if message.text.startswith(_FAILED):
                    raise self._explained(film, Failed.model_validate_json(message.text))
                return task.read(message)
            except Late:
                raise self._struck(film, f"Decoding this video took longer than {seconds:.0f} seconds.") from None
            except (Broken, ValueError) as error:
                _LOG.warning("a worker failed on the film %s: %s", film, error)
                raise self._struck(film, "This video made its decoder fail and was given up.") from None

    def _ask(self, order: Order, file: int, stop: Event | None) -> Message:
        """One try; and one more if the process that makes workers is lost, which no film can bring about."""
        for last in (False, True):
            try:
                with self._running().launch(file) as worker:
                    return _talk(worker, order, stop)
            except OSError:
                if last:
                    raise
        raise AssertionError

    def _explained(self, film: str, failed: Failed) -> BadVideo:
        if failed.failed == "bad":
            return BadVideo(failed.words)
        if failed.failed == "memory":
            return self._struck(film, f"Decoding this video takes more memory than {self._memory} bytes.")
        _LOG.warning("a worker could not finish with the film %s: %s", film, failed.words)
        return BadVideo("This video cannot be read: its decoder stumbled over it.")

    def _struck(self, film: str, words: str) -> BadVideo:
        self._quarantine.add(film)
        self.struck += 1
        return BadVideo(words)

    @contextmanager
    def _place(self, stop: Event | None) -> Iterator[None]:
        while not self._places.acquire(timeout=TICK_SECONDS):
            if stop is not None and stop.is_set():
                raise Stopped
        try:
            yield
        finally:
            self._places.release()

    def _running(self) -> Launcher:
        with self._lock:
            if self._launcher is None or not self._launcher.lives:
                if self._launcher is not None:
                    _LOG.error("the process that starts decoders was lost and is started again")
                    self._launcher.close()
                self._launcher = Launcher(self._library)
                weakref.finalize(self, self._launcher.close)
            return self._launcher


def _talk(worker: Worker, order: Order, stop: Event | None) -> Message:
    """Raises Broken with how the worker ended, Late, Stopped; OSError if its maker ended."""
    line = Line(worker.stream, order.allowance.seconds, stop)
    try:
        line.send(Message(pickle.dumps(order)))
        return line.receive(order.task.most)
    except Broken as error:
        status = worker.status()
        if status is None:
            raise OSError("the process that starts decoders was lost") from error
        if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGXCPU:
            raise Late from error
        raise Broken(f"{error} (status {os.waitstatus_to_exitcode(status)})") from error


@contextmanager
def _opened(path: Path) -> Iterator[int]:
    """A descriptor of a file. Raises BadVideo if there is none any more."""
    try:
        file = os.open(path, os.O_RDONLY)
    except OSError as error:
        raise BadVideo("There is no file at this path.") from error
    try:
        yield file
    finally:
        os.close(file)
