"""Maps over the course of a training, and release gates that catch broken models."""
