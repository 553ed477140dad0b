"""The geometry between a photo and what a model sees of it, both ways.

A photo is an upright RGB `PIL.Image`; its size is (width, height), as in Pillow. Inputs, maps and
masks are tensors; their size is (height, width). Positions are continuous: pixel i covers
[i, i + 1) and its centre is i + 0.5. So a box (x1, y1, x2, y2) is x2 - x1 wide.
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
from scorecam.images.photo import MAX_PIXELS
from scorecam.io.arguments import path as as_path
from scorecam.io.ranges import COUNT
from scorecam.io.reading import Kind, parse_json, read_text

Fit = Literal["resize_crop", "crop_resize", "squash"]
Interpolation = Literal["bilinear", "bicubic", "nearest", "lanczos"]
Box = tuple[float, float, float, float]
"""(left, top, right, bottom), in pixels of the photo."""

_InputMap = Annotated[Tensor, "h w"]
_PhotoMap = Annotated[Tensor, "H W"]
_Boxes = Annotated[Tensor, "m 4"]

_FILE = Kind("a preprocessing as JSON", 2**20, SettingError)

_FILTERS: dict[str, Image.Resampling] = {
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "nearest": Image.Resampling.NEAREST,
    "lanczos": Image.Resampling.LANCZOS,
}

_RESIZED_WHOLE = 2**25
"""The most pixels a resized photo may have; beyond, only the part that is kept is sampled."""


@dataclass(frozen=True, kw_only=True)
class Preprocess:
    """How a photo becomes a model's input, and the way back.

    size: (height, width) of the input.
    fit: how the photo is brought to that size.
        resize_crop: the photo is resized until the input covers `fraction` of its short side, and
            cropped in the middle: the very pixels of torchvision's Resize and CenterCrop.
        crop_resize: `fraction` of the short side is cut out in the middle, then resized, once.
        squash: the whole photo is resized, whatever its shape; `fraction` plays no part.
    fraction: the part of the short side that is kept, in (0, 1]. Where the input is not square:
        of the side on which the photo has less to spare.
    mean, std: one number per colour, in units in which white is 1; a single one where the model
        sees greys.
    interpolation: Pillow's filter for resizing, which smooths where it shrinks.

    Raises SettingError when built from values that make no sense.
    """

    size: tuple[int, int]
    fit: Fit
    fraction: float = 0.875
    mean: tuple[float, ...]
    std: tuple[float, ...]
    interpolation: Interpolation = "bilinear"

    __repr__ = constructor

    def __post_init__(self) -> None:
        _check_size(self.size)
        _check_choice("fit", self.fit, get_args(Fit))
        _check_choice("interpolation", self.interpolation, get_args(Interpolation))
        _check_colours(self.mean, self.std)
        if not (_is_number(self.fraction) and 0 < self.fraction <= 1):
            raise SettingError(
                f"`fraction` must lie in (0, 1]; it is {quoted(self.fraction)}.",
                do="Give the part of the short side that is kept, such as 0.875.",
            )

    @classmethod
    def imagenet(cls, size: int = 224) -> Self:
        """What torchvision's ImageNet models expect: at 224, the middle of 256 pixels."""
        return cls(
            size=(size, size),
            fit="resize_crop",
            mean=(0.485, 0.456, 0.406),
            std=(0.229, 0.224, 0.225),
        )

    @classmethod
    def lite(cls, size: int) -> Self:
        """What EfficientNet-Lite expects; 224, 240, 260, 280 and 300 for Lite0 to Lite4."""
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
        """`imagenet`, or the path of a JSON file with what `to_dict` gives. Raises SettingError."""
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
        """The inverse of `to_dict`. Raises SettingError, naming the key that makes no sense."""
        known = [field.name for field in fields(cls)]
        if not isinstance(cast(object, values), Mapping):
            raise SettingError(
                f"Preprocessing is a table of {', '.join(known)}; got {quoted(values)}.",
                do="Write it with json.dumps(preprocess.to_dict()).",
            )
        for key in values:
            if key not in known:
                do = did_you_mean(excerpt(key), known) or f"There are {', '.join(known)}."
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
        """Every field, as JSON has it: numbers, strings, and lists of numbers."""
        return {
            key: list(cast("tuple[object, ...]", value)) if isinstance(value, tuple) else value
            for key, value in asdict(self).items()
        }

    def __call__(self, photo: Image.Image) -> shapes.Image:
        """The model's input, (c, h, w) float32: the sampled photo, minus mean, over std."""
        values = torch.as_tensor(np.array(self._sampled(photo), dtype=np.float32))
        mean, std = self._colours()
        return (values.reshape(*self.size, -1).movedim(-1, 0) / 255 - mean) / std

    def black(self) -> Tensor:
        """What a black pixel is in the model's units, (c, 1, 1) float32."""
        mean, std = self._colours()
        return -mean / std

    def view(self, photo: Image.Image) -> Image.Image:
        """What the model sees of the photo, in RGB, at the size of the input."""
        return self._sampled(photo).convert("RGB")

    def jpeg(self, photo: Image.Image) -> bytes:
        """`view` as a JPEG file."""
        file = io.BytesIO()
        self.view(photo).save(file, "JPEG", quality=80, optimize=True)
        return file.getvalue()

    def unnormalise(self, image: shapes.Image) -> Image.Image:
        """The RGB picture that an input (c, h, w) shows; of an untouched one, exactly its view."""
        mean, std = self._colours()
        values = (image.detach().cpu().float() * std + mean) * 255
        rgb = values.clamp(0, 255).round().byte().expand(3, *self.size)
        return Image.fromarray(rgb.permute(1, 2, 0).contiguous().numpy())

    def crop_box(self, photo_size: tuple[int, int]) -> Box:
        """(left, top, right, bottom) of what the model sees, in pixels of a (width, height) photo.

        The pixels of the input divide this box evenly; no rounding is hidden between the two.
        """
        width, height = photo_size
        if self.fit == "squash":
            return 0.0, 0.0, float(width), float(height)
        if self.fit == "crop_resize":
            return self._cut(photo_size)
        whole_width, whole_height = whole = self._whole(photo_size)
        left, top = self._corner(whole)
        return (
            left * width / whole_width,
            top * height / whole_height,
            (left + self.size[1]) * width / whole_width,
            (top + self.size[0]) * height / whole_height,
        )

    def boxes_to_input(
        self, boxes: Tensor | npt.NDArray[Any], photo_size: tuple[int, int]
    ) -> _Boxes:
        """Boxes (m, 4), x1 y1 x2 y2, from pixels of the photo to pixels of the input, float32.

        Clipped to the input: a box of which the model sees nothing comes out without area.
        """
        left, top, right, bottom = self.crop_box(photo_size)
        height, width = self.size
        # float32 would lose the difference of large coordinates
        double: dict[str, Any] = {"dtype": torch.float64, "device": "cpu"}
        corner = torch.tensor([left, top] * 2, **double)
        scale = torch.tensor([width / (right - left), height / (bottom - top)] * 2, **double)
        end = torch.tensor([width, height] * 2, device="cpu")
        return ((_as_boxes(boxes) - corner) * scale).clamp(min=0).minimum(end).float()

    def mask_to_input(self, mask: Tensor | npt.NDArray[Any]) -> _InputMap:
        """A mask (H, W) over the photo, brought to the input (h, w) the way the photo is.

        Booleans stay booleans: each is the mask's at the pixel's centre. Floats become float32 and
        stay within their range; where the mask shrinks, they are averaged.
        """
        values = np.asarray(torch.as_tensor(mask).detach().cpu())
        if values.ndim != 2 or 0 in values.shape or values.dtype.kind not in "bf":
            raise SettingError(
                f"A mask cannot have the shape {values.shape} and the dtype {values.dtype}.",
                do="Give booleans or floats, one for each pixel (height, width) of the photo.",
            )
        rows, columns = values.shape
        left, top, right, bottom = box = self.crop_box((columns, rows))
        height, width = self.size
        if values.dtype.kind == "b":
            y = _under_centres(top, bottom, height, rows)
            x = _under_centres(left, right, width, columns)
            return torch.as_tensor(values[np.ix_(y, x)])
        averaged = Image.fromarray(values.astype(np.float32)).resize(
            (width, height), Image.Resampling.BILINEAR, box=box
        )
        return torch.as_tensor(np.array(averaged))

    def to_photo(self, heatmap: _InputMap, photo_size: tuple[int, int]) -> _PhotoMap:
        """A map (h, w) over the input, laid over the photo: (H, W) float32, on the same device.

        Bilinear between the centres of pixels; 0 in pixels of which the model saw nothing.
        """
        if tuple(heatmap.shape) != self.size:
            raise SettingError(
                f"The map has the size {tuple(heatmap.shape)}, and the input {self.size}.",
                likely="It was made with another preprocessing.",
            )
        left, top, right, bottom = self.crop_box(photo_size)
        rows, y = _stretched(heatmap.detach().float().cpu(), top, bottom)
        columns, x = _stretched(rows.T, left, right)
        laid = torch.zeros(photo_size[::-1], dtype=torch.float32, device="cpu")
        laid[y, x] = columns.T
        return laid.to(heatmap.device)

    def _sampled(self, photo: Image.Image) -> Image.Image:
        """The photo at the input's size, in the model's mode: RGB, or L where it sees greys."""
        mode = "RGB" if len(self.mean) == 3 else "L"
        seen = photo if photo.mode == mode else photo.convert(mode)  # else a copy of a large photo
        height, width = self.size
        how = _FILTERS[self.interpolation]
        if self.fit == "resize_crop":
            whole = self._whole(photo.size)
            if math.prod(whole) <= _RESIZED_WHOLE:
                left, top = self._corner(whole)
                return seen.resize(whole, how).crop((left, top, left + width, top + height))
        return seen.resize((width, height), how, box=self.crop_box(photo.size))

    def _whole(self, photo_size: tuple[int, int]) -> tuple[int, int]:
        """(width, height) to which resize_crop brings a photo, so that both sides can be cropped.

        The short side is rounded and the other cut to a whole number, as torchvision does it.
        """
        width, height = photo_size
        rows, columns = (round(side / self.fraction) for side in self.size)
        if width * rows <= height * columns:
            return columns, int(columns * height / width)
        return int(rows * width / height), rows

    def _corner(self, whole: tuple[int, int]) -> tuple[int, int]:
        """(left, top) of the crop in a resized photo."""
        return round((whole[0] - self.size[1]) / 2), round((whole[1] - self.size[0]) / 2)

    def _cut(self, photo_size: tuple[int, int]) -> Box:
        """What crop_resize cuts out; at least one pixel."""
        width, height = photo_size
        rows, columns = self.size
        if width * rows <= height * columns:
            wide, high = float(width), width * rows / columns
        else:
            wide, high = height * columns / rows, float(height)
        wide, high = max(1, int(self.fraction * wide)), max(1, int(self.fraction * high))
        left, top = (width - wide + 1) // 2, (height - high + 1) // 2
        return float(left), float(top), float(left + wide), float(top + high)

    def _colours(self) -> tuple[Tensor, Tensor]:
        """Mean and std, each (c, 1, 1) float32."""
        mean, std = (
            torch.tensor(v, dtype=torch.float32, device="cpu") for v in (self.mean, self.std)
        )
        return mean[:, None, None], std[:, None, None]


def _stretched(values: Tensor, start: float, stop: float) -> tuple[Tensor, slice]:
    """The rows of a map that spans [start, stop), one for each pixel of an axis that it touches."""
    first, last = math.floor(start + 1e-6), math.ceil(stop - 1e-6)  # forgive rounding, not slivers
    pixels = torch.arange(first, last, dtype=torch.float64, device="cpu")
    where = (pixels + 0.5 - start) * (len(values) / (stop - start)) - 0.5
    where = where.clamp(0, len(values) - 1)
    before = where.long()
    after = (before + 1).clamp(max=len(values) - 1)
    part = (where - before)[:, None].float()
    return values[before].lerp(values[after], part), slice(first, last)


def _under_centres(start: float, stop: float, count: int, length: int) -> npt.NDArray[np.intp]:
    """Which of `length` pixels lies under the centre of each of `count` that divide a span."""
    centres = start + (np.arange(count) + 0.5) * ((stop - start) / count)
    return centres.astype(np.intp).clip(0, length - 1)


def _as_boxes(boxes: Tensor | npt.NDArray[Any]) -> _Boxes:
    values = torch.as_tensor(boxes).detach().cpu().double()
    if values.ndim != 2 or values.shape[1] != 4:
        raise SettingError(
            f"Boxes of shape {tuple(values.shape)} are not four numbers in a row.",
            do="Give them as (m, 4): x1, y1, x2, y2.",
        )
    return values


def _is_number(value: object) -> bool:
    """Whether it is a number, finite in float32."""
    return isinstance(value, int | float) and not isinstance(value, bool) and -1e38 < value < 1e38


def _check_choice(key: str, value: object, choices: tuple[str, ...]) -> None:
    if not (isinstance(value, str) and value in choices):
        do = did_you_mean(value, choices) or f"There are {', '.join(choices)}."
        raise SettingError(f"`{key}` cannot be {quoted(value)}.", do=do)


def _check_size(size: object) -> None:
    sides = cast("tuple[object, ...]", size) if isinstance(size, tuple) else ()
    whole = [side for side in sides if isinstance(side, int) and not isinstance(side, bool)]
    if not (len(whole) == len(sides) == 2 and min(whole) > 0 and math.prod(whole) <= MAX_PIXELS):
        raise SettingError(
            f"`size` cannot be {quoted(size)}.",
            do=f"Give (height, width), in whole pixels: at least 1, at most {MAX_PIXELS:,} in all.",
        )


def _check_colours(mean: object, std: object) -> None:
    for key, values in (("mean", mean), ("std", std)):
        numbers = cast("tuple[float, ...]", values) if isinstance(values, tuple) else ()
        if len(numbers) not in (1, 3) or not all(map(_is_number, numbers)):
            raise SettingError(
                f"`{key}` cannot be {quoted(values)}.",
                do="Give a tuple of three numbers, or of one for a model that sees greys.",
            )
        if key == "mean" and not all(0 <= number <= 1 for number in numbers):
            raise SettingError(
                f"`mean` must lie in [0, 1]; it is {quoted(numbers)}.",
                likely="It is meant for pixels in 0..255.",
                do="Divide `mean` and `std` by 255.",
            )
        if key == "std" and not all(number > 0 for number in numbers):
            raise SettingError(
                f"`std` must be greater than 0; it is {quoted(numbers)}.",
                do="Use 1 to scale nothing.",
            )
    if len(cast("tuple[float, ...]", mean)) != len(cast("tuple[float, ...]", std)):
        raise SettingError("`mean` and `std` differ in length.", do="Give one of each per colour.")
