"""The score bank of an image, its file, and health notes."""
