"""A picture of a volume with its heatmap: three slices and three projections."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, Final

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from scorecam.images.blending import GREY, Pixels, blended, finite_range, stretched
from scorecam.images.legend import Legend, draw_legend
from scorecam.images.lettering import (
    BACKGROUND,
    FAINT,
    TEXT,
    em_size,
    line_height,
    write,
)
from scorecam.images.overlay import stack
from scorecam.images.region import OUTLINE, draw_outline, resized_mask

AXES: Final = "dhw"
"""The letters of the axes, in the order of the tensor's."""

CROSS: Final = OUTLINE
"""The colour of the crosshair."""

_WIDTH, _HIGHEST, _THINNEST = 1200, 420, 24
"""Pixels: of a row of planes, of the highest plane, and the least of a plane's sides."""


@dataclass(frozen=True)
class Plane:
    """A slice or a projection of a volume.

    Args:
        axis: that was cut or projected.
        grey: the input, `rows columns`, in 0..255.
        heatmap: of the same shape, in [0, 1].
        point: the voxel that the slices go through; None for a projection.
        mask: the pixels to outline, of the same shape; None for none.
    """

    axis: int
    grey: Pixels
    heatmap: npt.NDArray[np.float32]
    point: tuple[int, ...] | None
    mask: Annotated[Tensor, "rows columns"] | None = None

    @property
    def sides(self) -> tuple[int, int]:
        """The axes of the rows and of the columns."""
        down, right = (axis for axis in range(3) if axis != self.axis)
        return down, right


def volume_picture(
    image: Annotated[Tensor, "c d h w"] | None,
    heatmap: Annotated[Tensor, "d h w"],
    legend: Legend | None,
    *,
    spacing: Sequence[float] = (1.0, 1.0, 1.0),
    mask: Annotated[Tensor, "d h w"] | None = None,
) -> Image.Image:
    """The slices through the heatmap's maximum, with a crosshair there, and the projections.

    The projections show the maximum of the heatmap along each axis, on the mean of the input along
    it. Several channels are averaged.

    Args:
        image: the volume; None if its values are not known.
        heatmap: scaled to [0, 1].
        legend: the texts to write below; None for none.
        spacing: the size of a voxel along each axis, for the aspect ratio.
        mask: the voxels to outline, bool; in projections, where there is one along the axis.
    """
    values = heatmap.detach().float().nan_to_num().clamp(0, 1)
    point = highest(values)
    slices, projections = slices_at(image, values, point), projected(image, values)
    if mask is not None:
        slices = [replace(p, mask=mask.select(p.axis, point[p.axis])) for p in slices]
        projections = [replace(p, mask=mask.any(dim=p.axis)) for p in projections]
    lengths = [count * size for count, size in zip(values.shape, spacing, strict=True)]
    scale = _scale(lengths)
    rows = [
        _row([_cell(plane, lengths, scale) for plane in planes]) for planes in (slices, projections)
    ]
    if legend is not None:
        described = replace(legend, caption=_caption(image, values, point, spacing))
        rows.append(draw_legend(described, max(_WIDTH, rows[0].width)))
    return stack(rows)


def highest(heatmap: Annotated[Tensor, "*i"]) -> tuple[int, ...]:
    """The place of the largest value; the centre if all values are the same."""
    if heatmap.max() <= heatmap.min():
        return tuple(count // 2 for count in heatmap.shape)
    return tuple(int(each) for each in torch.unravel_index(heatmap.argmax(), heatmap.shape))


def slices_at(
    image: Tensor | None, heatmap: Annotated[Tensor, "d h w"], point: Sequence[int]
) -> list[Plane]:
    """The three slices through a voxel."""
    ranges = [] if image is None else [finite_range(_array(channel)) for channel in image]
    planes: list[Plane] = []
    for axis in range(3):
        shown = heatmap.select(axis, point[axis])
        grey = np.full(shown.shape, GREY, np.float32)
        if image is not None:
            cut = _array(image.select(axis + 1, point[axis]))
            greys = [stretched(one, *ends) for one, ends in zip(cut, ranges, strict=True)]
            grey = np.asarray(np.mean(greys, axis=0), np.float32)
        planes.append(Plane(axis, grey, shown.cpu().numpy(), tuple(point)))
    return planes


def projected(image: Tensor | None, heatmap: Annotated[Tensor, "d h w"]) -> list[Plane]:
    """The maximum of the heatmap along each axis, on the mean of the input."""
    planes: list[Plane] = []
    for axis in range(3):
        shown = heatmap.amax(axis).cpu().numpy()
        grey = np.full(shown.shape, GREY, np.float32)
        if image is not None:
            means = _array(image.float().mean(axis + 1))
            greys = [stretched(one, *finite_range(one)) for one in means]
            grey = np.asarray(np.mean(greys, axis=0), np.float32)
        planes.append(Plane(axis, grey, shown, None))
    return planes


def _array(values: Tensor) -> npt.NDArray[Any]:
    return values.detach().float().cpu().numpy()


# ── layout ───────────────────────────────────────────────────────────────────────────────────


def _scale(lengths: Sequence[float]) -> float:
    """Pixels per unit of length, so that three planes fit into a row."""
    depth, height, width = lengths
    room = _WIDTH - 4 * em_size(_WIDTH)
    return min(room / (2 * width + height), _HIGHEST / max(depth, height))


def _cell(plane: Plane, lengths: Sequence[float], scale: float) -> Image.Image:
    """A plane with its title above."""
    down, right = plane.sides
    height, width = (max(_THINNEST, round(lengths[axis] * scale)) for axis in (down, right))
    drawn = _drawn(plane, (width, height))
    em = em_size(_WIDTH)
    letter = AXES[plane.axis]
    title = f"maximum along {letter}"
    if plane.point is not None:
        title = f"{letter} = {plane.point[plane.axis]}"
    top = 2 * line_height(em)
    cell = Image.new("RGB", (max(width, 9 * em), top + height), BACKGROUND)
    draw = ImageDraw.Draw(cell)
    y = write(draw, [title], (0, 0), size=em, fill=TEXT)
    sides = f"{AXES[down]} down, {AXES[right]} right"
    write(draw, [sides], (0, y), size=em * 4 // 5, fill=FAINT)
    cell.paste(drawn, (0, top))
    return cell


def _drawn(plane: Plane, size: tuple[int, int]) -> Image.Image:
    """A plane in pixels, (width, height), with its crosshair."""
    grey = np.asarray(Image.fromarray(plane.grey).resize(size, Image.Resampling.BICUBIC))
    values = np.asarray(Image.fromarray(plane.heatmap).resize(size, Image.Resampling.BILINEAR))
    rgb = grey.clip(0, 255)[..., None].repeat(3, axis=2)
    picture = Image.fromarray(blended(rgb, values.clip(0, 1)).round().astype(np.uint8))
    if plane.mask is not None:
        draw_outline(picture, resized_mask(plane.mask, size))
    if plane.point is not None:
        row, column = (plane.point[side] for side in plane.sides)
        rows, columns = plane.heatmap.shape
        x, y = int((column + 0.5) / columns * size[0]), int((row + 0.5) / rows * size[1])
        _draw_cross(picture, (x, y))
    return picture


def _draw_cross(picture: Image.Image, place: tuple[int, int]) -> None:
    """Draw a crosshair that leaves the place itself free."""
    (x, y), (width, height) = place, picture.size
    draw = ImageDraw.Draw(picture)
    em = em_size(_WIDTH)
    wide, high = min(em, width // 8), min(em, height // 8)
    draw.line((0, y, x - wide, y), CROSS)
    draw.line((x + wide, y, width, y), CROSS)
    draw.line((x, 0, x, y - high), CROSS)
    draw.line((x, y + high, x, height), CROSS)


def _row(cells: Sequence[Image.Image]) -> Image.Image:
    """The cells from left to right, with space around them."""
    em = em_size(_WIDTH)
    width = sum(cell.width for cell in cells) + em * (len(cells) + 1)
    row = Image.new("RGB", (width, max(cell.height for cell in cells) + em), BACKGROUND)
    x = em
    for cell in cells:
        row.paste(cell, (x, em))
        x += cell.width + em
    return row


def _caption(
    image: Tensor | None, heatmap: Tensor, point: Sequence[int], spacing: Sequence[float]
) -> str:
    constant = bool(heatmap.max() <= heatmap.min())
    place = ", ".join(f"{letter} = {index}" for letter, index in zip(AXES, point, strict=True))
    through = "the centre, because the map is constant" if constant else "the maximum of the map"
    size = " × ".join(map(str, heatmap.shape))
    text = (
        f"Slices of {size} voxels through {through}: {place}, counted from 0. Below: the maximum "
        "of the map along each axis, on the mean of the input."
    )
    if len(set(spacing)) > 1:
        text += f" A voxel measures {' × '.join(f'{size:.3g}' for size in spacing)}."
    if image is None:
        return f"{text} The values of the input are not known."
    channels = f"Each of the {len(image)} channels is" if len(image) > 1 else "Greys are"
    then = ", and their mean is shown" if len(image) > 1 else ""
    return f"{text} {channels} stretched from minimum to maximum{then}, for display only."
