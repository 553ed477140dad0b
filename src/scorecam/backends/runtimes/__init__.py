"""Faster ways to run a network: one file per foreign library, and the choice between them."""
