"""Image files: the one place that opens them, and what reading one may cost."""

from scorecam.images.door import (
    MASK,
    PHOTO,
    PICTURE,
    VIEW,
    Accepts,
    Opened,
    metadata_is_huge,
    opened,
    orientation,
)
from scorecam.images.memory import (
    MAX_PIXELS,
    PHOTO_MEMORY,
    SETTING,
    check_memory,
    check_needed,
    check_pixels,
)
from scorecam.images.tiff import MOST_PAGES, Page

__all__ = [
    "Accepts",
    "check_memory",
    "check_needed",
    "check_pixels",
    "MASK",
    "MAX_PIXELS",
    "metadata_is_huge",
    "MOST_PAGES",
    "Opened",
    "opened",
    "orientation",
    "Page",
    "PHOTO",
    "PHOTO_MEMORY",
    "PICTURE",
    "SETTING",
    "VIEW",
]
