"""The demo: videos of moving shapes, questions about them, and a tiny video LMM that knows them."""

from __future__ import annotations

from pathlib import Path

WEIGHTS = Path(__file__).parent / "weights"
