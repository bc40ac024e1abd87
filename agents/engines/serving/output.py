"""What a program writes, passed on line by line, the last of it kept."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

_LINES = 400  # kept: enough for the traceback of each of its processes
_LONGEST = 2000  # characters of a line; servers print whole configurations


class Output:
    """Passes each line to `tell` and keeps the last ones. Nobody sees `secret`.

    What a carriage return overwrites, as progress bars do, is not passed on, but is the `latest` while it stands.
    """

    def __init__(self, tell: Callable[[str], None], secret: str) -> None:
        self.lines: deque[str] = deque(maxlen=_LINES)
        self.latest = ""
        self._tell = tell
        self._secret = secret
        self._rest = b""

    def feed(self, data: bytes) -> None:
        """More of what the program wrote."""
        *ended, rest = (self._rest + data).split(b"\n")
        for line in ended:
            self._end(line)
        if len(rest) > 2 * _LONGEST:  # a bar that has been drawn over and over, or no text at all
            rest = rest[-_LONGEST:]
        self._rest = rest
        self.latest = self._shown(rest) or self.latest

    def close(self) -> None:
        """The program writes no more."""
        self._end(self._rest)
        self._rest = b""

    def _end(self, line: bytes) -> None:
        if shown := self._shown(line):
            self.latest = shown
            self.lines.append(shown)
            self._tell(shown)

    def _shown(self, line: bytes) -> str:
        text = line.decode(errors="replace").replace(self._secret, "***")
        drawn = (each.rstrip() for each in reversed(text.split("\r")))
        return next((each for each in drawn if each), "")[:_LONGEST]
