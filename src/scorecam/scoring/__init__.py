"""Scores masked images and collects the scores in banks."""
