"""Models by spec: one file for each kind of spec."""
