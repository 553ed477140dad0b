"""The picture of the model's input in a score bank."""

from __future__ import annotations

from PIL import Image

from scorecam.errors import BankError
from scorecam.images.opening import VIEW_FORMATS, ImageKind, open_image

_VIEW = ImageKind("a picture", VIEW_FORMATS, BankError)


def view_picture(view: bytes, size: tuple[int, ...]) -> Image.Image:
    """The picture in a bank's JPEG, RGB.

    Args:
        size: the axes of the input.

    Raises:
        BankError: it is not a JPEG, is damaged, or does not have the size of the input.
    """
    with open_image(view, _VIEW, "The bank's picture") as picture:
        if picture.image.size[::-1] != size:
            raise BankError(
                f"The bank's picture has {picture.image.width} × {picture.image.height} "
                f"pixels, but the model's input has the axes {size}."
            )
        return picture.image.convert("RGB")
