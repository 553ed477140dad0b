"""Thumbnails, and the check that bytes are a picture."""

from __future__ import annotations

import base64
import io
from typing import Final

from PIL import Image

from scorecam.errors import PhotoError
from scorecam.images.opening import PAGE_FORMATS, VIEW_FORMATS, ImageKind, open_image

QUALITY: Final = 70
MAX_BYTES: Final = 8 * 1024
"""Larger thumbnails are compressed again."""

_PICTURE = ImageKind("a picture", PAGE_FORMATS, PhotoError)
_GALLERY_PICTURE = ImageKind("a picture", VIEW_FORMATS, PhotoError, pixels=2**24)
"""A run's gallery may have thousands of pictures, all of them small."""


def thumbnail(jpeg: bytes, side: int, name: str) -> tuple[str, tuple[int, int]]:
    """A JPEG of at most `side` × `side` pixels in base64, and its (width, height).

    Args:
        jpeg: a JPEG or PNG.
        side: the longest side in pixels.
        name: of the picture, for the error.

    Raises:
        PhotoError: it cannot be decoded.
    """
    kind, image = _decoded(jpeg, name, _PICTURE)
    small = max(image.size) <= side and len(jpeg) <= MAX_BYTES
    if small and kind == ("JPEG", "RGB"):
        return base64.b64encode(jpeg).decode(), image.size
    image.thumbnail((side, side), Image.Resampling.LANCZOS)
    file = io.BytesIO()
    image.save(file, "JPEG", quality=QUALITY, optimize=True)
    return base64.b64encode(file.getvalue()).decode(), image.size


def decodable(jpeg: bytes | None) -> bytes | None:
    """The same bytes; None if they are not a readable JPEG, as in an edited file."""
    if jpeg is None:
        return None
    try:
        _decoded(jpeg, "", _GALLERY_PICTURE)
    except PhotoError:
        return None
    return jpeg


def _decoded(
    jpeg: bytes, name: str, accepts: ImageKind
) -> tuple[tuple[str | None, str], Image.Image]:
    """A picture's format and mode, and the picture in RGB."""
    try:
        with open_image(jpeg, accepts, f"The picture of {name}") as opened:
            image = opened.image
            return (image.format, image.mode), image.convert("RGB")
    except PhotoError as error:
        raise PhotoError(
            f"The picture of {name} cannot be decoded: {error.what}",
            likely="It is truncated, or it is not a picture.",
            do="Give a JPEG or PNG, or None for a grey tile.",
        ) from error
