"""Real networks whose input is not a photo."""
