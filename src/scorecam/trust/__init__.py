"""Whether one map can be trusted: evidence, and the verdict made from it."""
