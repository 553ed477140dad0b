"""`python -m scorecam`."""

from scorecam.cli import main

main()
