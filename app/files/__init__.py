"""Uploaded files: stored once by content, visible only to their own tenant."""
