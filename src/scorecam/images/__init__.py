"""Photos in, pictures out: opening image files, preprocessing, and overlays."""
