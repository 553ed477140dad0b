"""Pictures made small; bytes that are none are told apart."""

from __future__ import annotations

import base64
import io
from typing import Final

from PIL import Image

from scorecam.errors import PhotoError
from scorecam.images.opening import PICTURE, VIEW, Accepts, opened

QUALITY: Final = 70
HEAVIEST: Final = 8 * 1024
"""Bytes of a thumbnail; one of more is compressed anew."""

_PICTURE = Accepts("a picture", PICTURE, PhotoError)
_KEPT = Accepts("a picture", VIEW, PhotoError, pixels=2**24)
"""Pictures in a run's gallery are thumbnails, and there may be thousands of them."""


def thumbnail(jpeg: bytes, side: int, name: str) -> tuple[str, tuple[int, int]]:
    """A JPEG of at most `side` pixels a side in base64, and its (width, height).

    Args:
        jpeg: a JPEG, or a PNG.
        name: of the picture, for the error.

    Raises:
        PhotoError: it cannot be decoded.
    """
    how, drawn = _decoded(jpeg, name, _PICTURE)
    small = max(drawn.size) <= side and len(jpeg) <= HEAVIEST
    if small and how == ("JPEG", "RGB"):
        return base64.b64encode(jpeg).decode(), drawn.size
    drawn.thumbnail((side, side), Image.Resampling.LANCZOS)
    file = io.BytesIO()
    drawn.save(file, "JPEG", quality=QUALITY, optimize=True)
    return base64.b64encode(file.getvalue()).decode(), drawn.size


def decodable(jpeg: bytes | None) -> bytes | None:
    """The same bytes; None where they are no JPEG, as in a file that someone edited."""
    if jpeg is None:
        return None
    try:
        _decoded(jpeg, "", _KEPT)
    except PhotoError:
        return None
    return jpeg


def _decoded(
    jpeg: bytes, name: str, accepts: Accepts
) -> tuple[tuple[str | None, str], Image.Image]:
    """A picture's format and mode, and the picture in RGB."""
    try:
        with opened(jpeg, accepts, f"The picture of {name}") as found:
            image = found.image
            return (image.format, image.mode), image.convert("RGB")
    except PhotoError as error:
        raise PhotoError(
            f"The picture of {name} cannot be decoded: {error.what}",
            likely="Its bytes are cut short, or are not a picture.",
            do="Give a JPEG, or None for a grey tile.",
        ) from error
