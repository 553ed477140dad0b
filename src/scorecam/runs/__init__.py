"""A data set measured, in a folder that can be resumed."""
