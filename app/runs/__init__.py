"""Runs: every answer is one. A run has an id, can be followed, cancelled, read later, and resumed after a restart."""
