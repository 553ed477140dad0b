"""Which networks can be explained, and with which arguments."""
