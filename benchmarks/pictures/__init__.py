"""The pictures of inputs that are not photos."""
