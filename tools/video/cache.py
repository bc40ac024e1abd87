"""Decoded frames kept within a number of bytes, shared by every request that looks at the same video."""

from collections import OrderedDict
from collections.abc import Sequence
from threading import Lock

from tools.video.frame import Frame

FrameKey = tuple[str, str, int, int]
"""Video id (content hash), decoder, longest side in pixels, place of the picture in the file."""


class FrameCache:
    """Least recently used first out; safe under threads; pickles as an empty cache of the same size."""

    def __init__(self, max_bytes: int) -> None:
        if max_bytes < 0:
            raise ValueError("max_bytes is a number of bytes, not negative")
        self.max_bytes = max_bytes
        self._frames: OrderedDict[FrameKey, Frame] = OrderedDict()
        self._bytes = 0
        self._hits = 0
        self._misses = 0
        self._lock = Lock()

    def get(self, key: FrameKey) -> Frame | None:
        """The frame, now the most recently used; None if it is not kept."""
        with self._lock:
            frame = self._frames.get(key)
            if frame is None:
                self._misses += 1
                return None
            self._hits += 1
            self._frames.move_to_end(key)
            return frame

    def get_all(self, keys: Sequence[FrameKey]) -> list[Frame] | None:
        """All of these frames, now the most recently used; None, and nothing is counted, if one is not kept."""
        with self._lock:
            if not all(key in self._frames for key in keys):
                return None
            for key in keys:
                self._frames.move_to_end(key)
            self._hits += len(keys)
            return [self._frames[key] for key in keys]

    def put(self, key: FrameKey, frame: Frame) -> None:
        """Keep a frame, dropping the oldest ones; a frame larger than the whole cache is not kept."""
        size = frame.image.nbytes
        if size > self.max_bytes:
            return
        with self._lock:
            old = self._frames.pop(key, None)
            self._bytes += size - (old.image.nbytes if old else 0)
            self._frames[key] = frame
            while self._bytes > self.max_bytes:
                _, dropped = self._frames.popitem(last=False)
                self._bytes -= dropped.image.nbytes

    @property
    def bytes(self) -> int:
        """Bytes of pixels kept now."""
        return self._bytes

    @property
    def hits(self) -> int:
        """Frames found since the cache was made."""
        return self._hits

    @property
    def misses(self) -> int:
        """Frames not found since the cache was made."""
        return self._misses

    def __len__(self) -> int:
        return len(self._frames)

    def __reduce__(self) -> tuple[type["FrameCache"], tuple[int]]:
        return FrameCache, (self.max_bytes,)
