"""What decides where to look and what to ask: engines, the run, the strategies. Knows no HTTP."""
