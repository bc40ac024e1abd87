"""Limits on the videos that are accepted, and the error for those that are not."""

from dataclasses import dataclass


class BadVideo(Exception):
    """The video cannot be read or is beyond a limit. The message is for the client that sent it."""


class DecodingStopped(Exception):
    """Decoding was cancelled, because nobody waits for the frames any more."""


@dataclass(frozen=True, slots=True)
class VideoLimits:
    """Bounds on one video, checked before any of its pictures is decoded (the last two while decoding).

    bytes, seconds, pixels (width x height of one stored picture), frames (in the whole video), work:
    pixels decoded for one call, and seconds by the clock for one call, so that a video made to be slow ends a
    call instead of holding it. A video of one single group of pictures has to be decoded from its first second
    for every call.
    """

    max_bytes: int = 4 * 1024**3
    max_seconds: float = 6 * 3600.0
    max_pixels: int = 8192 * 4320
    max_frames: int = 2_000_000
    max_decoded_pixels: int = 200_000_000_000
    max_decode_seconds: float = 60.0

    def check_bytes(self, size: int) -> None:
        """Refuse a file by its size."""
        if size == 0:
            raise BadVideo("This file is empty.")
        if size > self.max_bytes:
            raise BadVideo(f"This file has {size} bytes; the limit max_bytes is {self.max_bytes}.")

    def check_size(self, width: int, height: int) -> None:
        """Refuse a picture size in pixels; an unknown size (0) is left to the decoder."""
        if width < 0 or height < 0:
            raise BadVideo(f"This video claims an impossible size of {width}x{height} pixels.")
        if width * height > self.max_pixels:
            raise BadVideo(f"This video is {width}x{height} pixels; the limit max_pixels is {self.max_pixels}.")

    def check_seconds(self, seconds: float) -> None:
        """Refuse a video by its length."""
        if seconds > self.max_seconds:
            raise BadVideo(
                f"This video is {seconds:.0f} seconds long; the limit max_seconds is {self.max_seconds:.0f}."
            )

    def check_frames(self, count: int) -> None:
        """Refuse a video by its number of frames."""
        if count > self.max_frames:
            raise BadVideo(f"This video has more frames than the limit max_frames, {self.max_frames}.")
