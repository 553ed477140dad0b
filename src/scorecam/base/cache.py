"""The folder for files that make later runs faster; users may delete them at any time."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder() -> Path:
    """`$SCORECAM_CACHE`, or `scorecam` in the user's cache folder. It may not exist yet."""
    if own := os.environ.get("SCORECAM_CACHE"):
        return Path(own).expanduser().absolute()
    shared = os.environ.get("XDG_CACHE_HOME", "")
    # The XDG specification says to ignore relative paths.
    parent = Path(shared) if Path(shared).is_absolute() else Path.home() / ".cache"
    return parent / "scorecam"
