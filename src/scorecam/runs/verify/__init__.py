"""Check that every file of a run, or a bank, is as it was written."""
