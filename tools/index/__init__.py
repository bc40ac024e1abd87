"""What is known in words of one video, found by what is asked for."""
