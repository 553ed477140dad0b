"""The command line: parsing, progress, printing, exit codes."""
