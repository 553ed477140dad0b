"""Scripts that measure scorecam; README.md lists them."""
