"""What every other module may use: text for people, locks, process state, exact arithmetic."""
