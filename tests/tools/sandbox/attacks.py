"""What a decoder under a hostile video's control might do, as tasks for a worker."""

from __future__ import annotations

import ctypes
import os
import socket
import time
from dataclasses import dataclass
from pathlib import Path

from tools.sandbox.protocol import WorkerMessage


@dataclass(frozen=True)
class Attack:
    """A task that does something and reports it."""

    max_reply_bytes: int = 1 << 16

    def run(self, file: Path) -> WorkerMessage:
        """Report that it went well."""
        os.lseek(int(file.name), 0, os.SEEK_SET)
        self.perpetrate()
        return WorkerMessage(self.says())

    def says(self) -> bytes:
        """The report."""
        return b"done"

    def parse_reply(self, message: WorkerMessage) -> str:
        """What the worker reports."""
        return bytes(message.text).decode()

    def perpetrate(self) -> None:
        """The attack; nothing, in the honest case."""


class Honest(Attack):
    """Does nothing."""


class Crash(Attack):
    """Reads where there is no memory."""

    def perpetrate(self) -> None:
        ctypes.string_at(1)


class Vanish(Attack):
    """Ends without a word."""

    def perpetrate(self) -> None:
        os._exit(0)


class Spin(Attack):
    """Uses processor time for ever."""

    def perpetrate(self) -> None:
        while True:
            pass


class Sleep(Attack):
    """Waits for ever, using no processor time."""

    def perpetrate(self) -> None:
        time.sleep(1000)


class Hog(Attack):
    """Takes all memory that it can get."""

    def perpetrate(self) -> None:
        held = []
        while True:
            held.append(bytearray(16 << 20))


class Phone(Attack):
    """Opens a connection."""

    def perpetrate(self) -> None:
        with socket.socket() as line:
            line.connect(("127.0.0.1", 9))


class Peek(Attack):
    """Opens another file."""

    def perpetrate(self) -> None:
        Path("/etc/passwd").read_bytes()


class Scribble(Attack):
    """Writes a file."""

    def perpetrate(self) -> None:
        Path("/tmp/secondlook-was-here").write_bytes(b"?")


class Overwrite(Attack):
    """Writes into the video that it was given."""

    def run(self, file: Path) -> WorkerMessage:
        """Report that it went well."""
        os.pwrite(int(file.name), b"?", 0)
        return WorkerMessage(b"done")


class Start(Attack):
    """Starts a process."""

    def perpetrate(self) -> None:
        if os.fork() == 0:
            os._exit(0)


class Shoot(Attack):
    """Signals another process."""

    def perpetrate(self) -> None:
        os.kill(1, 0)


class Execute(Attack):
    """Makes memory executable, as injected code would have to."""

    def perpetrate(self) -> None:
        library = ctypes.CDLL(None, use_errno=True)
        library.mmap.restype = ctypes.c_void_p
        place = library.mmap(None, ctypes.c_size_t(4096), 0x7, 0x22, -1, ctypes.c_long(0))
        if place == ctypes.c_void_p(-1).value:
            raise OSError(ctypes.get_errno(), "mmap")


class Flood(Attack):
    """Sends more than was agreed."""

    def says(self) -> bytes:
        """A large answer."""
        return b"x" * (self.max_reply_bytes + 1)


class Lie(Attack):
    """Answers what cannot be read."""

    def parse_reply(self, message: WorkerMessage) -> str:
        """Refuse it, as a real task does with nonsense."""
        raise ValueError(message.text)
