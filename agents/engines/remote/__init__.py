"""What the engine for servers is made of: a server over HTTP, a completion as it sends it, a distribution in it."""
