"""What the service tells its operator of itself: numbers, log lines, spans. Nothing here changes what it does."""
