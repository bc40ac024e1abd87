"""Fetches videos by URL, from public addresses only, and caches them."""
