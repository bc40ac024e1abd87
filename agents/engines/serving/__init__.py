"""What runs a model server for the engine that asks it: its command line, its process, its log, its restarts."""
