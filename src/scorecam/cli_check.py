"""The command that says how far one map may be believed."""
