"""Pictures made small; bytes that are none are told apart."""

from __future__ import annotations

import base64
import io
from typing import Final

from PIL import Image

from scorecam.errors import PhotoError
from scorecam.process import quietly

QUALITY: Final = 70
HEAVIEST: Final = 8 * 1024
"""Bytes of a thumbnail; one of more is compressed anew."""


def thumbnail(jpeg: bytes, side: int, name: str) -> tuple[str, tuple[int, int]]:
    """A JPEG of at most `side` pixels a side in base64, and its (width, height).

    Args:
        jpeg: in any format that Pillow reads.
        name: of the picture, for the error.

    Raises:
        PhotoError: it cannot be decoded.
    """
    image, drawn = _decoded(jpeg, name)
    small = max(image.size) <= side and len(jpeg) <= HEAVIEST
    if small and image.format == "JPEG" and image.mode == "RGB":
        return base64.b64encode(jpeg).decode(), image.size
    drawn.thumbnail((side, side), Image.Resampling.LANCZOS)
    file = io.BytesIO()
    drawn.save(file, "JPEG", quality=QUALITY, optimize=True)
    return base64.b64encode(file.getvalue()).decode(), drawn.size


def decodable(jpeg: bytes | None) -> bytes | None:
    """The same bytes; None where they are no picture, as in a file that someone edited."""
    if jpeg is None:
        return None
    try:
        _decoded(jpeg, "")
    except PhotoError:
        return None
    return jpeg


def _decoded(jpeg: bytes, name: str) -> tuple[Image.Image, Image.Image]:
    """A picture as it is, and in RGB."""
    try:
        with quietly():  # Pillow's remarks on large sizes and odd metadata
            image = Image.open(io.BytesIO(jpeg))
            image.load()
            return image, image.convert("RGB")
    except Exception as error:  # a damaged file raises what the reader of its format happens to
        raise PhotoError(
            f"The picture of {name} cannot be decoded: {error}.",
            likely="Its bytes are cut short, or are not a picture.",
            do="Give a JPEG, or None for a grey tile.",
        ) from error
