"""What is known of videos in words: built on demand or whole, searched, listed, removed; each tenant has its own."""
