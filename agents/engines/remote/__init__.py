"""What the engine for servers is made of: what is known about a server, what is asked of it, what it answers."""
