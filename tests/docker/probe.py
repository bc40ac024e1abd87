"""Runs a health check's command on this machine, against a server that answers as told."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

PROXY = {"http_proxy": "http://127.0.0.1:9", "HTTP_PROXY": "http://127.0.0.1:9"}


def exit_code(command: Sequence[str], path: str, status: int | None) -> int:
    """How the command ends where `path` answers with `status`, any other with 404; None: nobody listens."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status or 0 if self.path == path else 404)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        port = str(server.server_port)
        if status is None:
            server.server_close()
        else:
            Thread(target=server.serve_forever, daemon=True).start()
        code = command[-1].replace("8000", port)
        ended = subprocess.run([sys.executable, "-c", code], env=PROXY, stderr=subprocess.DEVNULL, timeout=20)
        if status is not None:
            server.shutdown()
    return ended.returncode
