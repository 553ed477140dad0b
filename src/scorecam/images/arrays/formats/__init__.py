"""The formats of files of numbers: one module for each."""
