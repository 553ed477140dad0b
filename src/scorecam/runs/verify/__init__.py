"""Check that every file of a run, or a bank, is unchanged since it was written."""
