"""One file per form of output."""
