"""What can be done to a video. Knows no model; imports nothing from the floors above."""
