"""The picture of an input with its heatmap: one kind of picture for each number of axes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Final

import numpy as np
from PIL import Image
from torch import Tensor

from scorecam import shapes
from scorecam.errors import PhotoError, SettingError
from scorecam.images.blending import GREY, finite_range, stretched
from scorecam.images.legend import Legend
from scorecam.images.overlay import LONGEST, overlay
from scorecam.images.preprocessing import Preprocessing
from scorecam.images.region import Region, region_mask
from scorecam.images.signal_picture import signal_picture
from scorecam.images.strip import strip
from scorecam.images.volume_picture import volume_picture
from scorecam.io.arguments import several
from scorecam.io.ranges import Real

LARGEST_DRAWN: Final = 2**25
"""The most pixels of a photo that is drawn at full size."""

COLOURS: Final = 3
"""An image with three axes and this many channels is a video, and a volume otherwise."""


OUTSIDE: Final = "The answer's place is outside the photo."

Spacing = Sequence[float] | None
"""The distance of two values along each axis; None if it is not known."""

SPACING: Final = Real(1e-12, 1e9, closed=True)
"""The distance of two values along an axis, in seconds or millimetres."""


def photo_picture(
    photo: Image.Image,
    preprocess: Preprocessing,
    scaled: shapes.Heatmap,
    legend: Legend | None,
    *,
    region: Region | None = None,
    longest: int = LONGEST,
) -> Image.Image:
    """The heatmap of a model's input on the photo.

    Args:
        region: what to outline, in pixels of the input.
        longest: the most pixels of the long side of a photo.
    """
    shown = _drawable(photo)
    on_photo = preprocess.to_photo(scaled, shown.size)
    crop = preprocess.crop_box(shown.size)
    if region is not None:
        region = _on_photo(region, preprocess, shown.size)
        if region is None and legend is not None:
            legend = replace(legend, outline=OUTSIDE)
    return overlay(shown, on_photo, crop, legend, region=region, longest=longest)


def _on_photo(
    region: Region, preprocess: Preprocessing, photo_size: tuple[int, int]
) -> Region | None:
    """A region of the input in pixels of the photo; None if no part of it is in the photo."""
    if isinstance(region, Tensor):
        mask = preprocess.to_photo(region.float(), photo_size).cpu() >= 0.5
        return mask if mask.any() else None
    placement = preprocess.placement(photo_size)
    box = (0.0, 0.0, 0.0, 0.0) if placement is None else placement.box_to_photo(region)
    return box if box[0] < box[2] and box[1] < box[3] else None


def input_picture(
    image: shapes.Image | None,
    scaled: shapes.Heatmap,
    legend: Legend | None,
    *,
    view: Image.Image | None = None,
    spacing: Spacing = None,
    region: Region | None = None,
    longest: int = LONGEST,
) -> Image.Image:
    """The heatmap on the model's input.

    A signal is drawn as lines, an input with rows and columns as a photo, and an input with three
    axes as a strip of frames if it has three channels, and as slices otherwise.

    Args:
        image: the model's input, `c *i`; None if its values are not known.
        scaled: the heatmap, scaled to [0, 1].
        legend: the texts to write below; None for none.
        view: the model's input as a picture, if it has rows and columns and is known.
        spacing: the distance of two values along each axis, for a signal or a volume: seconds, or
            the sizes of a voxel.
        region: what to outline, in pixels of the input.
        longest: the most pixels of the long side of a photo.

    Raises:
        PhotoError: there is no picture for this number of axes.
        SettingError: the input and the heatmap differ in size, or the spacing is invalid.
    """
    axes = tuple(scaled.shape)
    if image is not None and tuple(image.shape[1:]) != axes:
        raise SettingError(
            f"The input has the axes {tuple(image.shape[1:])}, and the heatmap {axes}.",
            do="Give a heatmap in the input's pixels, as Explanation.heatmap is.",
        )
    video = image is not None and len(axes) == 3 and len(image) == COLOURS
    if spacing is not None:
        spacing = _checked(spacing, 0 if video or len(axes) == 2 else len(axes))
    if len(axes) == 2:
        return _flat_picture(image, scaled, legend, view=view, region=region, longest=longest)
    if len(axes) not in (1, 3):
        raise PhotoError(f"An image with {len(axes)} axes cannot be drawn.", do="Plot `heatmap`.")
    mask = None if region is None else region_mask(region, axes)
    if len(axes) == 1:
        rate = 1 / spacing[0] if spacing else None
        return signal_picture(image, scaled, legend, rate=rate, mask=mask)
    if image is not None and video:
        return strip(image, scaled, legend, mask=mask)
    return volume_picture(image, scaled, legend, spacing=spacing or (1.0, 1.0, 1.0), mask=mask)


def _checked(spacing: Sequence[float], axes: int) -> tuple[float, ...]:
    """One positive number for each axis; `axes` is 0 for pictures without a spacing."""
    if not axes:
        raise SettingError(
            "Only pictures of signals and volumes have a spacing.", do="Leave it out."
        )
    given = several("spacing", spacing, object, f"Give {axes} numbers, one for each axis.")
    numbers = tuple(SPACING.check("spacing", number) for number in given)
    if len(numbers) != axes:
        raise SettingError(
            f"spacing has {len(numbers)} numbers, but the input has {axes} axes.",
            do="Give one number for each axis.",
        )
    return numbers


def _flat_picture(
    image: Annotated[Tensor, "c h w"] | None,
    scaled: Annotated[Tensor, "h w"],
    legend: Legend | None,
    *,
    view: Image.Image | None,
    region: Region | None,
    longest: int,
) -> Image.Image:
    """The heatmap on an input with rows and columns."""
    height, width = scaled.shape
    if view is None and image is not None:
        view = stretched_picture(image)
        if legend is not None:
            legend = replace(legend, caption=_flat_caption(len(image)))
    view = view or Image.new("RGB", (width, height), (GREY, GREY, GREY))
    whole = (0.0, 0.0, float(width), float(height))
    return overlay(view, scaled, whole, legend, region=region, longest=longest)


def stretched_picture(image: Annotated[Tensor, "c h w"]) -> Image.Image:
    """An input as a picture: three channels as colours, any other number as their mean."""
    values = image.detach().float().cpu().numpy()
    if len(values) == COLOURS:
        pixels = stretched(values, *finite_range(values)).transpose(1, 2, 0)
    else:
        greys = [stretched(channel, *finite_range(channel)) for channel in values]
        pixels = np.mean(greys, axis=0)[..., None].repeat(3, axis=2)
    return Image.fromarray(pixels.round().astype(np.uint8))


def _flat_caption(channels: int) -> str:
    if channels == COLOURS:
        return "Colours are stretched from minimum to maximum, for display only."
    if channels == 1:
        return "Greys are stretched from minimum to maximum, for display only."
    return (
        f"Each of the {channels:,} channels is stretched from minimum to maximum, and their mean "
        "is shown, for display only."
    )


def _drawable(photo: Image.Image) -> Image.Image:
    """The photo, reduced if drawing on all its pixels would take gigabytes."""
    shrink = (LARGEST_DRAWN / (photo.width * photo.height)) ** 0.5
    if shrink >= 1:
        return photo
    size = max(1, int(photo.width * shrink)), max(1, int(photo.height * shrink))
    return photo.resize(size, Image.Resampling.LANCZOS)
