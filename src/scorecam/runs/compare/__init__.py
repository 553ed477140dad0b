"""Two or more models on the same photos: how similar their maps are, and what else changed."""
