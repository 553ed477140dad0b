"""Whether one map may be believed."""
