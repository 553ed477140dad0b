"""What every way from a photo to a model's input offers, and the way back.

A photo is an upright RGB `PIL.Image`; its size is (width, height), as in Pillow. Inputs, maps and
masks are tensors; their size is (height, width). Positions are continuous: pixel i covers
[i, i + 1), and its centre is i + 0.5. So a box (x1, y1, x2, y2) is x2 - x1 wide.
"""

from __future__ import annotations

import io
from abc import ABC, abstractmethod
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

from scorecam import shapes
from scorecam.errors import SettingError
from scorecam.images.geometry import Box, Boxes
from scorecam.images.pixels import rgb_picture
from scorecam.images.placement import InputMap, PhotoMap, Placement

Channels = Literal["rgb", "bgr"]
"""The order in which a model takes the colours."""


class Preprocessing(ABC):
    """How a photo becomes a model's input, and how maps and boxes are converted.

    Attributes:
        size: (height, width) of the input.
        mean, std: one number per colour, where white is 1, in the order of `channels`.
        channels: the order in which the model takes the colours.
    """

    size: tuple[int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    channels: Channels = "rgb"

    @abstractmethod
    def __call__(self, photo: Image.Image) -> shapes.Image:
        """The model's input, (c, h, w) float32."""

    @abstractmethod
    def placement(self, photo_size: tuple[int, int]) -> Placement | None:
        """Where the input is in a (width, height) photo; None if that is not known."""

    @abstractmethod
    def view(self, photo: Image.Image) -> Image.Image:
        """What the model sees of the photo, in RGB, at the size of the input."""

    @abstractmethod
    def to_dict(self) -> dict[str, object]:
        """What it does, as JSON values, for the records."""

    def remarks(self, photo_size: tuple[int, int]) -> tuple[str, ...]:  # noqa: ARG002
        """What the user should know about maps of a photo of this size."""
        return ()

    def black(self) -> Tensor:
        """A black pixel in the model's units, (c, 1, 1) float32."""
        mean, std = self.colours()
        return -mean / std

    def jpeg(self, photo: Image.Image) -> bytes:
        """`view` as a JPEG file."""
        file = io.BytesIO()
        self.view(photo).save(file, "JPEG", quality=80, optimize=True)
        return file.getvalue()

    def unnormalise(self, image: shapes.Image) -> Image.Image:
        """An input (c, h, w) as an RGB picture; for an unchanged photo, exactly its `view`.

        Of more bands than three, the first three are shown; of two, the first.
        """
        mean, std = self.colours()
        return rgb_picture(self.reordered(image.detach().cpu().float() * std + mean))

    def reordered(self, colours: shapes.Image) -> shapes.Image:
        """Colours (c, h, w) from RGB to the order of the model, or back."""
        return colours.flip(0) if self.channels == "bgr" else colours

    def crop_box(self, photo_size: tuple[int, int]) -> Box:
        """(left, top, right, bottom) of the part that the model sees of a (width, height) photo.

        In pixels of the photo.
        """
        return self._placed(photo_size).crop

    def boxes_to_input(
        self, boxes: Tensor | npt.NDArray[Any], photo_size: tuple[int, int]
    ) -> Boxes:
        """Boxes (m, 4), x1 y1 x2 y2, from pixels of the photo to pixels of the input, float32.

        Boxes are clipped to the input; one that the model does not see has no area afterwards.
        """
        return self._placed(photo_size).boxes_to_input(boxes)

    def mask_to_input(self, mask: Tensor | npt.NDArray[Any]) -> InputMap:
        """A mask (H, W) of the photo, resampled to the input (h, w).

        Booleans stay booleans: each is the value at the centre of the pixel. Floats become float32
        and stay within their range; they are averaged where the mask is reduced.
        """
        values = np.asarray(torch.as_tensor(mask).detach().cpu())
        if values.ndim != 2 or 0 in values.shape or values.dtype.kind not in "bf":
            raise SettingError(
                f"A mask cannot have the shape {values.shape} and the dtype {values.dtype}.",
                do="Give one boolean or float for each pixel of the photo, (height, width).",
            )
        return self._placed((values.shape[1], values.shape[0])).mask_to_input(values)

    def to_photo(self, heatmap: InputMap, photo_size: tuple[int, int]) -> PhotoMap:
        """A map (h, w) of the input as a map of the photo: (H, W) float32, on the same device.

        Bilinear between pixel centres; 0 in pixels that the model did not see.
        """
        return self._placed(photo_size).to_photo(heatmap)

    def colours(self) -> tuple[Tensor, Tensor]:
        """Mean and std, each (c, 1, 1) float32."""
        mean, std = (
            torch.tensor(v, dtype=torch.float32, device="cpu") for v in (self.mean, self.std)
        )
        return mean[:, None, None], std[:, None, None]

    def _placed(self, photo_size: tuple[int, int]) -> Placement:
        """The placement.

        Raises:
            SettingError: it is not known.
        """
        placement = self.placement(photo_size)
        if placement is None:
            raise SettingError(
                "It is not known where the model's input is in the photo.",
                likely="The transform warps the photo, or its output does not show positions.",
                do="Use the map in the input's own pixels.",
            )
        return placement
