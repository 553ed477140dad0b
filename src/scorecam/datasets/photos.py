"""The photos in a folder, and how large they are, without decoding any."""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path
from typing import Final

from scorecam.errors import DatasetError, PhotoError
from scorecam.images import PHOTO, Accepts, opened, orientation

Size = tuple[int, int]
"""(width, height) in pixels, as in Pillow."""

_KINDS = "avif bmp gif jfif jp2 jpe jpeg jpg pgm png ppm tif tiff webp"
SUFFIXES: Final = frozenset(f".{kind}" for kind in _KINDS.split())
"""How the names of photos end, in lower case."""

_PHOTO = Accepts("a photo", PHOTO, PhotoError)


def photos_under(root: Path, skip: Collection[str] = ()) -> list[str]:
    """The photos in a folder and the folders in it: paths relative to it, with slashes, sorted.

    Hidden files and folders are passed over, and the folders directly in `root` that `skip` names.
    Links are followed, but no folder is entered twice.

    Raises:
        DatasetError: a folder cannot be read.
    """
    found: list[str] = []
    entered: set[tuple[int, int]] = set()
    for folder, inner, files in os.walk(root, followlinks=True, onerror=_refuse):
        here = Path(folder)
        status = here.stat()
        if (status.st_dev, status.st_ino) in entered:
            inner.clear()
            continue
        entered.add((status.st_dev, status.st_ino))
        left_out = skip if here == root else ()
        inner[:] = sorted(name for name in inner if name[0] != "." and name not in left_out)
        prefix = "" if here == root else f"{here.relative_to(root).as_posix()}/"
        found += [prefix + name for name in files if name[0] != "." and is_photo(name)]
    return sorted(found)


def is_photo(name: str) -> bool:
    """Whether a file's name ends as those of photos do."""
    return os.path.splitext(name)[1].lower() in SUFFIXES  # noqa: PTH122  50,000 Paths are slow


def upright_size(path: Path) -> Size:
    """The size of the photo once it is turned upright, from its header.

    Raises:
        PhotoError: the header cannot be read.
    """
    try:
        with opened(path, _PHOTO, shown(path.name)) as found:
            # Pillow gives the size of a TIFF as if it were upright, depending on its version.
            stored = [(page.width, page.height) for page in found.pages[:1]]
            width, height = stored[0] if stored else found.image.size
            lies = orientation(found.image) in range(5, 9)
            return (height, width) if lies else (width, height)
    except PhotoError as error:
        raise PhotoError(
            f"The size of {shown(str(path))} cannot be read: {shown(error.what)}",
            likely=error.likely or "The file is missing, damaged, or no photo.",
            do=error.do,
        ) from error


def shown(name: str) -> str:
    """A name that can be printed, whatever bytes it is made of."""
    return name.encode("utf-8", "backslashreplace").decode("utf-8")


def _refuse(error: OSError) -> None:
    raise DatasetError(
        f"The folder {shown(str(error.filename))} cannot be read: {error.strerror or error}.",
        likely="It belongs to someone else.",
        do="Change its permissions, or copy the photos to a folder of your own.",
    ) from error
