"""Caption indexes of videos: built, searched, listed, deleted. Each tenant has its own."""
