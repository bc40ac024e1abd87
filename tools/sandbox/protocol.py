"""Messages between the service and a worker. What comes from a worker is data: JSON and numbers, never a pickle."""

import socket
import struct
from collections.abc import Callable, Sequence
from threading import Event
from time import monotonic
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tools.video.limits import DecodingStopped

Bytes = NDArray[np.uint8]

TICK_SECONDS = 0.05
"""Seconds between two checks of `stop` while waiting."""

_HEAD = struct.Struct("<II")
_LENGTH = struct.Struct("<Q")
_MOST_BUFFERS = 1 << 20


class WorkerMessage(NamedTuple):
    """A text (JSON, or a pickle towards the worker) and byte buffers beside it."""

    text: bytes
    buffers: Sequence[Bytes] = ()

    @property
    def head(self) -> bytes:
        """The header: the lengths of what follows."""
        sizes = b"".join(_LENGTH.pack(buffer.nbytes) for buffer in self.buffers)
        return _HEAD.pack(len(self.text), len(self.buffers)) + sizes + self.text


class ChannelError(Exception):
    """The other process ended in the middle of a message, or sent an invalid one."""


class DeadlineExceeded(Exception):
    """The deadline has passed."""


class Channel:
    """One end of a stream between two processes. `stop` and the deadline (seconds from now) end every wait."""

    def __init__(self, end: socket.socket, seconds: float | None = None, stop: Event | None = None) -> None:
        self._end = end
        self._deadline = None if seconds is None else monotonic() + seconds
        self._stop = stop
        end.settimeout(None if seconds is None else TICK_SECONDS)

    def send(self, message: WorkerMessage) -> None:
        """Send a message. Raises ChannelError, DeadlineExceeded, DecodingStopped."""
        for part in (memoryview(message.head), *(buffer.data for buffer in message.buffers)):
            rest = part
            while rest:
                rest = rest[self._patiently(self._end.send, rest) :]

    def receive(self, most: int) -> WorkerMessage:
        """Receive a message of at most `most` bytes. Raises ChannelError, DeadlineExceeded, DecodingStopped."""
        text, count = _HEAD.unpack(self._take(_HEAD.size).data)
        if count > _MOST_BUFFERS:
            raise ChannelError("too many buffers")
        sizes = [size for (size,) in _LENGTH.iter_unpack(self._take(count * _LENGTH.size).data)]
        if text + sum(sizes) > most:
            raise ChannelError("too many bytes")
        return WorkerMessage(self._take(text).tobytes(), [self._take(size) for size in sizes])

    def _take(self, size: int) -> Bytes:
        taken = np.empty(size, np.uint8)
        rest = taken.data
        while rest:
            got = self._patiently(self._end.recv_into, rest)
            if got == 0:
                raise ChannelError("the other side has ended")
            rest = rest[got:]
        return taken

    def _patiently(self, step: Callable[[memoryview], int], rest: memoryview) -> int:
        while True:
            if self._stop is not None and self._stop.is_set():
                raise DecodingStopped
            if self._deadline is not None and monotonic() > self._deadline:
                raise DeadlineExceeded
            try:
                return step(rest)
            except TimeoutError:
                continue
            except OSError as error:
                raise ChannelError("the other side has ended") from error
