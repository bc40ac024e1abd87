"""Files that are being written stay, however often what the dead have left is swept."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event

from app.files.incoming import Incoming


def test_sweeping_takes_no_file_that_is_just_being_made(tmp_path: Path) -> None:
    incoming, over = Incoming(tmp_path, 0), Event()

    def sweep() -> None:
        while not over.is_set():
            incoming.sweep()

    with ThreadPoolExecutor(1) as sweeper:
        swept = sweeper.submit(sweep)
        try:
            for _ in range(2000):
                with incoming.part() as part:
                    assert part.path.exists()
        finally:
            over.set()
        swept.result()
    assert not list(tmp_path.iterdir())
