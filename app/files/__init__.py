"""Files that clients upload: received, kept once by content, each seen by its own tenant only."""
