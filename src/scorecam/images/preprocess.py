"""Turning photos into inputs of a model, and maps of the input back into maps of the photo.

A photo is an upright RGB `PIL.Image`; its size is (width, height), as in Pillow. Inputs, maps and
masks are tensors; their size is (height, width). Positions are continuous: pixel i covers
[i, i + 1), and its centre is i + 0.5. So a box (x1, y1, x2, y2) is x2 - x1 wide.
"""

from __future__ import annotations

import io
import math
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Annotated, Any, Literal, Self, cast, get_args

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

from scorecam import shapes
from scorecam.base.wording import constructor, excerpt, quoted
from scorecam.errors import SettingError, did_you_mean
from scorecam.images.geometry import (
    Box,
    Boxes,
    as_boxes,
    centre_corner,
    centre_cut,
    pixels_under_centres,
    resized_size,
    stretch,
)
from scorecam.images.preprocess_checks import check_choice, check_colours, check_size, is_number
from scorecam.io.arguments import path as as_path
from scorecam.io.ranges import COUNT
from scorecam.io.reading import Kind, parse_json, read_text

Fit = Literal["resize_crop", "crop_resize", "squash"]
Interpolation = Literal["bilinear", "bicubic", "nearest", "lanczos"]

_InputMap = Annotated[Tensor, "h w"]
_PhotoMap = Annotated[Tensor, "H W"]

_FILE = Kind("a preprocessing as JSON", 2**20, SettingError)

_FILTERS: dict[str, Image.Resampling] = {
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "nearest": Image.Resampling.NEAREST,
    "lanczos": Image.Resampling.LANCZOS,
}

_RESIZED_WHOLE = 2**25
"""The most pixels of a resized photo. Of a larger one, only the crop is resampled."""


@dataclass(frozen=True, kw_only=True)
class Preprocess:
    """How a photo becomes a model's input, and how maps and boxes are converted.

    size: (height, width) of the input.
    fit: how the photo is brought to that size.
        resize_crop: the photo is resized until the input covers `fraction` of its short side, then
            cropped in the centre. The pixels equal those of torchvision's Resize and CenterCrop.
        crop_resize: `fraction` of the short side is cropped in the centre, then resized.
        squash: the whole photo is resized, whatever its shape; `fraction` has no effect.
    fraction: the part of the short side that is kept, in (0, 1]. If the input is not square,
        this is the side of the photo that limits the crop.
    mean, std: one number per colour, where white is 1; a single number for grey inputs.
    interpolation: Pillow's filter for resizing, with antialiasing.

    Raises SettingError if a value is not valid.
    """

    size: tuple[int, int]
    fit: Fit
    fraction: float = 0.875
    mean: tuple[float, ...]
    std: tuple[float, ...]
    interpolation: Interpolation = "bilinear"

    __repr__ = constructor

    def __post_init__(self) -> None:
        check_size(self.size)
        check_choice("fit", self.fit, get_args(Fit))
        check_choice("interpolation", self.interpolation, get_args(Interpolation))
        check_colours(self.mean, self.std)
        if not (is_number(self.fraction) and 0 < self.fraction <= 1):
            raise SettingError(
                f"`fraction` must be in (0, 1]; it is {quoted(self.fraction)}.",
                do="Give the part of the short side that is kept, such as 0.875.",
            )

    @classmethod
    def imagenet(cls, size: int = 224) -> Self:
        """For torchvision's ImageNet models: at 224, resize to 256 pixels and crop the centre."""
        return cls(
            size=(size, size),
            fit="resize_crop",
            mean=(0.485, 0.456, 0.406),
            std=(0.229, 0.224, 0.225),
        )

    @classmethod
    def lite(cls, size: int) -> Self:
        """For EfficientNet-Lite; the sizes are 224, 240, 260, 280 and 300 for Lite0 to Lite4."""
        size = COUNT.check("size", size)
        return cls(
            size=(size, size),
            fit="crop_resize",
            fraction=size / (size + 32),
            mean=(127 / 255,) * 3,
            std=(128 / 255,) * 3,
            interpolation="bicubic",
        )

    @classmethod
    def load(cls, path_or_name: str | os.PathLike[str]) -> Self:
        """From `imagenet`, or a JSON file written from `to_dict`. Raises SettingError."""
        if isinstance(path_or_name, str) and path_or_name == "imagenet":
            return cls.imagenet()
        path_or_name = as_path("preprocess", path_or_name)
        name = quoted(os.fspath(path_or_name), 200)
        try:
            text = read_text(path_or_name, _FILE)
        except SettingError as error:
            raise SettingError(
                f"The preprocessing {name} cannot be read: {error.what}",
                likely=error.likely,
                do="Give `imagenet`, or the path of a JSON file.",
            ) from error
        try:
            values = parse_json(text)
        except ValueError as error:
            raise SettingError(
                f"The preprocessing {name} is not JSON: {excerpt(error)}.",
                do="Write the file with json.dumps(preprocess.to_dict()).",
            ) from error
        try:
            return cls.from_dict(values)
        except SettingError as error:
            what = f"The preprocessing {name} cannot be used: {error.what}"
            raise SettingError(what, likely=error.likely, do=error.do) from error

    @classmethod
    def from_dict(cls, values: Mapping[str, object]) -> Self:
        """The inverse of `to_dict`. Raises SettingError that names the invalid key."""
        known = [field.name for field in fields(cls)]
        if not isinstance(cast(object, values), Mapping):
            raise SettingError(
                f"A preprocessing is an object with {', '.join(known)}; got {quoted(values)}.",
                do="Write it with json.dumps(preprocess.to_dict()).",
            )
        for key in values:
            if key not in known:
                do = did_you_mean(excerpt(key), known) or f"The keys are {', '.join(known)}."
                raise SettingError(f"Preprocessing has no `{excerpt(key)}`.", do=do)
        for key in ("size", "fit", "mean", "std"):
            if key not in values:
                do = f"It needs size, fit, mean and std; add `{key}`."
                raise SettingError(f"The preprocessing lacks `{key}`.", do=do)
        plain: dict[str, Any] = {
            key: tuple(cast("list[object]", value)) if isinstance(value, list) else value
            for key, value in values.items()
        }
        return cls(**plain)

    def to_dict(self) -> dict[str, object]:
        """Every field as JSON values: numbers, strings, and lists of numbers."""
        return {
            key: list(cast("tuple[object, ...]", value)) if isinstance(value, tuple) else value
            for key, value in asdict(self).items()
        }

    def __call__(self, photo: Image.Image) -> shapes.Image:
        """The model's input, (c, h, w) float32: the resized photo minus mean, divided by std."""
        values = torch.as_tensor(np.array(self._sampled(photo), dtype=np.float32))
        mean, std = self._colours()
        return (values.reshape(*self.size, -1).movedim(-1, 0) / 255 - mean) / std

    def black(self) -> Tensor:
        """A black pixel in the model's units, (c, 1, 1) float32."""
        mean, std = self._colours()
        return -mean / std

    def view(self, photo: Image.Image) -> Image.Image:
        """The part of the photo that the model sees, in RGB, at the size of the input."""
        return self._sampled(photo).convert("RGB")

    def jpeg(self, photo: Image.Image) -> bytes:
        """`view` as a JPEG file."""
        file = io.BytesIO()
        self.view(photo).save(file, "JPEG", quality=80, optimize=True)
        return file.getvalue()

    def unnormalise(self, image: shapes.Image) -> Image.Image:
        """An input (c, h, w) as an RGB picture; for an unchanged input, exactly its `view`."""
        mean, std = self._colours()
        values = (image.detach().cpu().float() * std + mean) * 255
        rgb = values.clamp(0, 255).round().byte().expand(3, *self.size)
        return Image.fromarray(rgb.permute(1, 2, 0).contiguous().numpy())

    def crop_box(self, photo_size: tuple[int, int]) -> Box:
        """(left, top, right, bottom) of the part that the model sees of a (width, height) photo.

        In pixels of the photo. The pixels of the input divide this box evenly, without rounding.
        """
        width, height = photo_size
        if self.fit == "squash":
            return 0.0, 0.0, float(width), float(height)
        if self.fit == "crop_resize":
            return centre_cut(photo_size, self.size, self.fraction)
        whole_width, whole_height = whole = resized_size(photo_size, self.size, self.fraction)
        left, top = centre_corner(whole, self.size)
        return (
            left * width / whole_width,
            top * height / whole_height,
            (left + self.size[1]) * width / whole_width,
            (top + self.size[0]) * height / whole_height,
        )

    def boxes_to_input(
        self, boxes: Tensor | npt.NDArray[Any], photo_size: tuple[int, int]
    ) -> Boxes:
        """Boxes (m, 4), x1 y1 x2 y2, from pixels of the photo to pixels of the input, float32.

        Boxes are clipped to the input; one that the model does not see has no area afterwards.
        """
        left, top, right, bottom = self.crop_box(photo_size)
        height, width = self.size
        # float32 would lose the difference of large coordinates
        double: dict[str, Any] = {"dtype": torch.float64, "device": "cpu"}
        corner = torch.tensor([left, top] * 2, **double)
        scale = torch.tensor([width / (right - left), height / (bottom - top)] * 2, **double)
        end = torch.tensor([width, height] * 2, device="cpu")
        return ((as_boxes(boxes) - corner) * scale).clamp(min=0).minimum(end).float()

    def mask_to_input(self, mask: Tensor | npt.NDArray[Any]) -> _InputMap:
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
        rows, columns = values.shape
        left, top, right, bottom = box = self.crop_box((columns, rows))
        height, width = self.size
        if values.dtype.kind == "b":
            y = pixels_under_centres(top, bottom, height, rows)
            x = pixels_under_centres(left, right, width, columns)
            return torch.as_tensor(values[np.ix_(y, x)])
        averaged = Image.fromarray(values.astype(np.float32)).resize(
            (width, height), Image.Resampling.BILINEAR, box=box
        )
        return torch.as_tensor(np.array(averaged))

    def to_photo(self, heatmap: _InputMap, photo_size: tuple[int, int]) -> _PhotoMap:
        """A map (h, w) of the input as a map of the photo: (H, W) float32, on the same device.

        Bilinear between pixel centres; 0 in pixels that the model did not see.
        """
        if tuple(heatmap.shape) != self.size:
            raise SettingError(
                f"The map has the size {tuple(heatmap.shape)}, but the input has {self.size}.",
                likely="It was made with another preprocessing.",
            )
        left, top, right, bottom = self.crop_box(photo_size)
        rows, y = stretch(heatmap.detach().float().cpu(), top, bottom)
        columns, x = stretch(rows.T, left, right)
        on_photo = torch.zeros(photo_size[::-1], dtype=torch.float32, device="cpu")
        on_photo[y, x] = columns.T
        return on_photo.to(heatmap.device)

    def _sampled(self, photo: Image.Image) -> Image.Image:
        """The photo at the input's size, in the model's mode: RGB, or L for grey inputs."""
        mode = "RGB" if len(self.mean) == 3 else "L"
        converted = photo if photo.mode == mode else photo.convert(mode)  # convert() copies
        height, width = self.size
        resampling = _FILTERS[self.interpolation]
        if self.fit == "resize_crop":
            whole = resized_size(photo.size, self.size, self.fraction)
            if math.prod(whole) <= _RESIZED_WHOLE:
                left, top = centre_corner(whole, self.size)
                return converted.resize(whole, resampling).crop(
                    (left, top, left + width, top + height)
                )
        return converted.resize((width, height), resampling, box=self.crop_box(photo.size))

    def _colours(self) -> tuple[Tensor, Tensor]:
        """Mean and std, each (c, 1, 1) float32."""
        mean, std = (
            torch.tensor(v, dtype=torch.float32, device="cpu") for v in (self.mean, self.std)
        )
        return mean[:, None, None], std[:, None, None]
