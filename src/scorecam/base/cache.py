"""The folder for files that make later runs faster; users may delete them at any time."""

from __future__ import annotations

import os
from pathlib import Path

from scorecam.base.amounts import bytes_of

SIZE = "SCORECAM_CACHE_SIZE"
"""The environment variable for the most bytes of converted networks, such as 500MiB."""

USUAL_SIZE = 2 << 30
"""The most bytes of converted networks, unless the user sets another limit."""


def cache_folder() -> Path:
    """`$SCORECAM_CACHE`, or `scorecam` in the user's cache folder. It may not exist yet.

    Raises:
        RuntimeError: the user has no home folder.
    """
    if own := os.environ.get("SCORECAM_CACHE"):
        return Path(own).expanduser().absolute()
    shared = os.environ.get("XDG_CACHE_HOME", "")
    # The XDG specification says to ignore relative paths.
    parent = Path(shared) if Path(shared).is_absolute() else Path.home() / ".cache"
    return parent / "scorecam"


def size_limit() -> int:
    """The most bytes of converted networks that are kept on disk. With 0, none are kept.

    Raises:
        ValueError: `$SCORECAM_CACHE_SIZE` is not a size.
    """
    text = os.environ.get(SIZE, "").strip()
    if not text:
        return USUAL_SIZE
    limit = bytes_of(text)
    if limit is None:
        raise ValueError(f"{SIZE} is {text[:40]!r}, which is not an amount such as 500MiB")
    return limit
