"""Preprocessing and class names where deployed models keep them: in the file, or next to it."""
