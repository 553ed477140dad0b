"""Where a model's input is in a photo: boxes, masks and maps from one to the other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

from scorecam.errors import SettingError
from scorecam.images.geometry import (
    Box,
    Boxes,
    as_boxes,
    padded,
    pixels_under_centres,
    stretch,
)

InputMap = Annotated[Tensor, "h w"]
PhotoMap = Annotated[Tensor, "H W"]


@dataclass(frozen=True)
class Placement:
    """Where the input is in a photo. The pixels of the input divide the box evenly.

    Args:
        photo: (width, height).
        size: (height, width) of the input.
        box: where the left, top, right and bottom edge of the input are in the photo. They are
            beyond the photo where the input is padded; left is the larger one if it is mirrored.
    """

    photo: tuple[int, int]
    size: tuple[int, int]
    box: Box

    @property
    def crop(self) -> Box:
        """(left, top, right, bottom) of the part of the photo that the model sees."""
        x1, y1, x2, y2 = self._upright
        width, height = self.photo
        return max(0.0, x1), max(0.0, y1), min(float(width), x2), min(float(height), y2)

    def boxes_to_input(self, boxes: Tensor | npt.NDArray[Any]) -> Boxes:
        """Boxes (m, 4) in pixels of the photo, clipped to the input, in its pixels, float32."""
        left, top, right, bottom = self.box
        height, width = self.size
        # float32 would lose the difference of large coordinates
        double: dict[str, Any] = {"dtype": torch.float64, "device": "cpu"}
        corner = torch.tensor([left, top] * 2, **double)
        scale = torch.tensor([width / (right - left), height / (bottom - top)] * 2, **double)
        end = torch.tensor([width, height] * 2, device="cpu")
        x1, x2 = (2, 0) if left > right else (0, 2)
        y1, y2 = (3, 1) if top > bottom else (1, 3)
        moved = ((as_boxes(boxes) - corner) * scale)[:, [x1, y1, x2, y2]]
        return moved.clamp(min=0).minimum(end).float()

    def mask_to_input(self, mask: Tensor | npt.NDArray[Any]) -> InputMap:
        """A mask (H, W) of the photo, resampled to the input; 0 where the input is padded."""
        values = np.asarray(torch.as_tensor(mask).detach().cpu())
        left, top, right, bottom = self.box
        height, width = self.size
        columns, rows = self.photo
        if values.dtype.kind == "b":
            y, inside_y = pixels_under_centres(top, bottom, height, rows)
            x, inside_x = pixels_under_centres(left, right, width, columns)
            return torch.as_tensor(values[np.ix_(y, x)] & np.outer(inside_y, inside_x))
        source, box = padded(values.astype(np.float32), self._upright)
        averaged = Image.fromarray(source).resize(
            (width, height), Image.Resampling.BILINEAR, box=box
        )
        mirrored = np.s_[:: -1 if top > bottom else 1, :: -1 if left > right else 1]
        return torch.as_tensor(np.array(averaged)[mirrored].copy())

    def to_photo(self, heatmap: InputMap) -> PhotoMap:
        """A map (h, w) of the input as a map of the photo: (H, W) float32, on the same device."""
        if tuple(heatmap.shape) != self.size:
            raise SettingError(
                f"The map has the size {tuple(heatmap.shape)}, but the input has {self.size}.",
                likely="It was made with another preprocessing.",
            )
        left, top, right, bottom = self.box
        width, height = self.photo
        rows, y = stretch(heatmap.detach().float().cpu(), top, bottom, height)
        columns, x = stretch(rows.T, left, right, width)
        on_photo = torch.zeros(height, width, dtype=torch.float32, device="cpu")
        on_photo[y, x] = columns.T
        return on_photo.to(heatmap.device)

    def box_to_photo(self, box: Sequence[float]) -> Box:
        """A box x1 y1 x2 y2 in pixels of the input, in those of the photo and clipped to it.

        A box outside the photo has no area afterwards.
        """
        left, top, right, bottom = self.box
        (height, width), (columns, rows) = self.size, self.photo
        x = sorted(left + edge * ((right - left) / width) for edge in (box[0], box[2]))
        y = sorted(top + edge * ((bottom - top) / height) for edge in (box[1], box[3]))
        x1, x2 = (min(max(0.0, edge), float(columns)) for edge in x)
        y1, y2 = (min(max(0.0, edge), float(rows)) for edge in y)
        return x1, y1, x2, y2

    @property
    def _upright(self) -> Box:
        """The box of an input that is not mirrored."""
        left, top, right, bottom = self.box
        return min(left, right), min(top, bottom), max(left, right), max(top, bottom)
