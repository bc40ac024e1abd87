"""What the outside sees: HTTP, the command line, settings, stored videos. Knows no model."""
