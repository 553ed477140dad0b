"""Data sets on disk: opening, selection, and the columns of their classes."""
