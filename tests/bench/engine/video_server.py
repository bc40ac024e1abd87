"""A web server with videos on it, which counts what is fetched."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any


class VideoServer(ThreadingHTTPServer):
    """`fetched` counts whole videos that were sent."""

    daemon_threads = True
    fetched = 0

    @property
    def root(self) -> str:
        """Where the videos are."""
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(SimpleHTTPRequestHandler):
    server: VideoServer

    def do_GET(self) -> None:
        self.server.fetched += 1
        super().do_GET()

    def log_message(self, *_: Any) -> None:
        """Says nothing."""


@contextmanager
def serving(folder: Path) -> Iterator[VideoServer]:
    """Serve the files of a folder on loopback."""
    with VideoServer(("127.0.0.1", 0), partial(_Handler, directory=str(folder))) as videos:
        thread = threading.Thread(target=videos.serve_forever, daemon=True)
        thread.start()
        try:
            yield videos
        finally:
            videos.shutdown()
            thread.join()
