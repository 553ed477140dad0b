"""One file per data set format, and what they share."""
