"""Tools for all other packages: text for users, locks, process state, exact arithmetic."""
