"""What is wrong with a model, read from a run."""
