"""Text indexes of videos: captions and subtitles with their seconds, searched by words and by meaning."""
