"""Evaluate methods on a data set, check and compare them; results are in folders."""
