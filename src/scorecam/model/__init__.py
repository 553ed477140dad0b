"""The seam between the method and whatever answers its questions."""
