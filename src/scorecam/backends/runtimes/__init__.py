"""Faster ways to run a network: one adapter per file, and the choice among them."""
