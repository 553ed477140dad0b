"""Maps of a transformer with real weights."""
