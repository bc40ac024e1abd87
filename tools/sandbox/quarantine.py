"""Films that made decoders fail, so that the same one does not cost a worker again and again."""

from collections import OrderedDict
from dataclasses import dataclass, field
from threading import Lock
from time import monotonic

from tools.limits import BadVideo


@dataclass(slots=True)
class Quarantine:
    """Refuses a film by content id after so many failures, for so many seconds since the last; forgets the oldest."""

    failures: int = 2
    seconds: float = 600.0
    kept: int = 4096
    _known: OrderedDict[str, tuple[int, float]] = field(default_factory=OrderedDict)
    _lock: Lock = field(default_factory=Lock)

    def check(self, film: str) -> None:
        """Raise BadVideo for a film that has failed too often."""
        with self._lock:
            count, last = self._known.get(film, (0, 0.0))
            if count and monotonic() - last > self.seconds:
                del self._known[film]
            elif count >= self.failures:
                raise BadVideo("This video made its decoder fail again and again, and is not tried any more for now.")

    def add(self, film: str) -> None:
        """Note a failure."""
        with self._lock:
            count, _ = self._known.pop(film, (0, 0.0))
            self._known[film] = (count + 1, monotonic())
            while len(self._known) > self.kept:
                self._known.popitem(last=False)
