"""The score bank: every answer about one image, its file, and the health notes read from it."""
