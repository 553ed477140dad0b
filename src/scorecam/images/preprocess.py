"""Turning photos into inputs of a model, by a resize, a crop and a normalisation."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, Self, cast, get_args

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from scorecam import shapes
from scorecam.base.wording import constructor, excerpt, quoted
from scorecam.errors import PhotoError, SettingError, did_you_mean
from scorecam.images.geometry import (
    Box,
    centre_corner,
    centre_cut,
    letterboxed,
    padded_box,
    resized_size,
)
from scorecam.images.placement import Placement
from scorecam.images.preprocess_checks import (
    check_channels,
    check_choice,
    check_colours,
    check_share,
    check_size,
)
from scorecam.images.preprocessing import Channels, Preprocessing
from scorecam.images.resampling import Interpolation, resized
from scorecam.io.arguments import path as as_path
from scorecam.io.ranges import COUNT
from scorecam.io.reading import Kind, parse_json, read_text

Fit = Literal["resize_crop", "crop_resize", "squash", "letterbox"]
Anchor = Literal["centre", "top_left"]

_FILE = Kind("a preprocessing as JSON", 2**20, SettingError)

_NEWER = ("channels", "padding", "anchor")
"""Fields that records of scorecam 0.1 do not have."""

_RESIZED_WHOLE = 2**25
"""The most pixels of a resized photo. Of a larger one, only the crop is resampled."""


@dataclass(frozen=True, kw_only=True)
class Preprocess(Preprocessing):
    """How a photo becomes a model's input, and how maps and boxes are converted.

    size: (height, width) of the input.
    fit: how the photo is brought to that size.
        resize_crop: the photo is resized until the input covers `fraction` of its short side, then
            cropped in the centre. The pixels equal those of torchvision's Resize and CenterCrop.
        crop_resize: `fraction` of the short side is cropped in the centre, then resized.
        squash: the whole photo is resized, whatever its shape; `fraction` has no effect.
        letterbox: the whole photo is resized in its own shape until it fits into the input, and
            the rest is padded; `fraction` has no effect. Sizes and margins are those of YOLO:
            sides are rounded to the nearest pixel, and an odd pixel of padding goes to the right
            or to the bottom.
    fraction: the part of the short side that is kept, in (0, 1]. If the input is not square,
        this is the side of the photo that limits the crop.
    mean, std: one number per colour, where white is 1, in the order of `channels`; a single number
        for grey inputs. With another number of bands than 1 or 3, only files of numbers are read,
        not photos.
    interpolation: Pillow's filter for resizing, with antialiasing; or "linear": bilinear without
        antialiasing, as OpenCV's resize and most programs that run deployed models.
    channels: the order in which the model takes the colours: "rgb" or "bgr".
    padding: the grey of a letterbox's padding, from 0 for black to 1 for white.
    anchor: where a letterbox puts the photo: "centre" or "top_left".

    Raises SettingError if a value is not valid.
    """

    size: tuple[int, int]
    fit: Fit
    fraction: float = 0.875
    mean: tuple[float, ...]
    std: tuple[float, ...]
    interpolation: Interpolation = "bilinear"
    channels: Channels = "rgb"
    padding: float = 114 / 255
    anchor: Anchor = "centre"

    __repr__ = constructor

    def __post_init__(self) -> None:
        check_size(self.size)
        check_choice("fit", self.fit, get_args(Fit))
        check_choice("interpolation", self.interpolation, get_args(Interpolation))
        check_choice("anchor", self.anchor, get_args(Anchor))
        check_colours(self.mean, self.std)
        check_channels(self.channels, len(self.mean))
        check_share("fraction", self.fraction, "Give the part of the short side that is kept.")
        check_share("padding", self.padding, "Divide a grey in 0..255 by 255.", zero=True)

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
    def yolo(cls, size: int = 640) -> Self:
        """For detectors of the YOLO family: letterboxed, RGB, with white as 1."""
        return cls(
            size=(size, size),
            fit="letterbox",
            mean=(0.0,) * 3,
            std=(1.0,) * 3,
            interpolation="linear",
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
        """Every field as JSON values: numbers, strings, and lists of numbers.

        `channels`, `padding` and `anchor` are left out at their defaults, as in older records.
        """
        newer = {one.name: one.default for one in fields(self) if one.name in _NEWER}
        return {
            key: list(cast("tuple[object, ...]", value)) if isinstance(value, tuple) else value
            for key, value in asdict(self).items()
            if key not in newer or value != newer[key]
        }

    def __call__(self, photo: Image.Image) -> shapes.Image:
        """The model's input, (c, h, w) float32: the resized photo minus mean, divided by std."""
        if len(self.mean) not in (1, 3):
            raise PhotoError(
                f"A photo has 3 colours, and the model takes {len(self.mean)} bands.",
                do="Give a file with all bands, such as a TIFF or a .npy file, or a tensor.",
            )
        values = torch.as_tensor(np.array(self._sampled(self._in_mode(photo)), dtype=np.float32))
        mean, std = self.colours()
        colours = self.reordered(values.reshape(*self.size, -1).movedim(-1, 0))
        return (colours / 255 - mean) / std

    def of_bands(self, bands: Tensor) -> shapes.Image:
        """The model's input from numbers instead of a photo.

        Args:
            bands: (c, H, W) float32, where 1 is white; c is the number of means. Three bands are
                red, green and blue, as in a photo, whatever the order of the model.
        """
        sampled = [self._sampled(Image.fromarray(band.numpy())) for band in bands]
        values = torch.stack([torch.as_tensor(np.array(band)) for band in sampled])
        mean, std = self.colours()
        return (self.reordered(values) - mean) / std

    def view(self, photo: Image.Image) -> Image.Image:
        """What the model sees of the photo, in RGB, at the size of the input."""
        return self._sampled(self._in_mode(photo)).convert("RGB")

    def placement(self, photo_size: tuple[int, int]) -> Placement:
        """Where the input is in a (width, height) photo, without rounding.

        A letterboxed input is larger than the photo.
        """
        width, height = photo_size
        box: Box = 0.0, 0.0, float(width), float(height)
        if self.fit == "crop_resize":
            box = centre_cut(photo_size, self.size, self.fraction)
        elif self.fit == "letterbox":
            box = padded_box(photo_size, self.size, self._inside(photo_size))
        elif self.fit == "resize_crop":
            whole_width, whole_height = whole = resized_size(photo_size, self.size, self.fraction)
            left, top = centre_corner(whole, self.size)
            box = (
                left * width / whole_width,
                top * height / whole_height,
                (left + self.size[1]) * width / whole_width,
                (top + self.size[0]) * height / whole_height,
            )
        return Placement(photo_size, self.size, box)

    def _in_mode(self, photo: Image.Image) -> Image.Image:
        """The photo in the model's mode: L for grey inputs, or RGB."""
        mode = "L" if len(self.mean) == 1 else "RGB"
        return photo if photo.mode == mode else photo.convert(mode)  # convert() copies

    def _sampled(self, photo: Image.Image) -> Image.Image:
        """The photo, of any mode, at the input's size."""
        height, width = self.size
        if self.fit == "letterbox":
            left, top, right, bottom = self._inside(photo.size)
            grey = self.padding if photo.mode == "F" else round(255 * self.padding)
            padded = Image.new(photo.mode, (width, height), (grey,) * len(photo.getbands()))
            inner = resized(photo, (right - left, bottom - top), self.interpolation)
            padded.paste(inner, (left, top))
            return padded
        if self.fit == "resize_crop" and self.interpolation != "linear":
            whole = resized_size(photo.size, self.size, self.fraction)
            if math.prod(whole) <= _RESIZED_WHOLE:
                left, top = centre_corner(whole, self.size)
                picture = resized(photo, whole, self.interpolation)
                return picture.crop((left, top, left + width, top + height))
        box = self.placement(photo.size).box
        return resized(photo, (width, height), self.interpolation, box)

    def _inside(self, photo_size: tuple[int, int]) -> tuple[int, int, int, int]:
        """Where a letterboxed photo is in the input; see `letterboxed`."""
        return letterboxed(photo_size, self.size, centred=self.anchor == "centre")
