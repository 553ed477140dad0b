"""Maps from few masks: when to stop, which masks to score, and how large the error is."""
