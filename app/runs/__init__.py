"""Every answer is a run: it has an id, can be followed, cancelled and read later, and survives the service."""
