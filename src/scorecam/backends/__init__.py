"""Opening models, and running them."""
