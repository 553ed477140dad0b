"""Where files are kept that make the next run faster and that anybody may delete."""

from __future__ import annotations

import os
from pathlib import Path


def folder() -> Path:
    """`$SCORECAM_CACHE`, or else `scorecam` in the user's cache folder. It may not exist yet."""
    if own := os.environ.get("SCORECAM_CACHE"):
        return Path(own).expanduser().absolute()
    shared = os.environ.get("XDG_CACHE_HOME", "")
    # A relative path there counts as none, says the XDG specification.
    parent = Path(shared) if Path(shared).is_absolute() else Path.home() / ".cache"
    return parent / "scorecam"
