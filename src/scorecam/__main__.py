"""`python -m scorecam`."""

from scorecam.cli.app import main

main()
