"""The demo: a world of moving shapes, films of it, questions about them, and a tiny video LMM that knows it."""

from __future__ import annotations

from pathlib import Path

WEIGHTS = Path(__file__).parent / "weights"
