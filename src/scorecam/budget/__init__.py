"""Which few masks to score, when to stop, and how far the map may be off."""
