"""What tasks explain, measured with real networks."""
