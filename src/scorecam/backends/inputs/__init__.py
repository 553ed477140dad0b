"""Inputs of networks: which one is masked, and how the others come along."""
