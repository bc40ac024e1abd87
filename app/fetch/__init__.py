"""Videos named by a URL: brought from the internet, and only from there, and kept for a while."""
