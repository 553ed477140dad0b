"""The user's own way from a photo to an input: any function, and what can be found out about it."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from typing import Any, cast

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from scorecam import shapes
from scorecam.base.wording import excerpt, one_line, reason
from scorecam.errors import ScorecamError, SettingError
from scorecam.images.calibration import Calibration, calibrated
from scorecam.images.coordinates import find_placement
from scorecam.images.pixels import rgb_picture
from scorecam.images.placement import Placement
from scorecam.images.preprocessing import Preprocessing

_TRIED = (400, 300)
"""(width, height) of the picture with which a transform is tried when it is given."""

_CALLS = 12
"""How often it is tried: a mirroring at random, half of the time, would be missed once in 2000."""

_LONGEST_NAME = 2000
"""The most characters of a transform's `repr` in records."""

_REMEMBERED = 64
"""The number of photo sizes whose placements are kept."""

_DO = "Give a function from a PIL image to a tensor (c, h, w), such as a torchvision Compose."


class Transform(Preprocessing):
    """A user's transform as a `Preprocessing`.

    It is tried on pictures when it is given: whether it always gives the same tensor, and how it
    normalises. Where its output is in a photo is found once for each size of photo.

    Args:
        function: from an RGB `PIL.Image` to a tensor or array, c h w, or a batch of one; or to a
            dict with that as `pixel_values`, as image processors of Hugging Face return it.

    Raises:
        SettingError: it fails, returns something else, or is random.
    """

    def __init__(self, function: Callable[[Image.Image], Any]) -> None:
        # A processor for several kinds of input, such as CLIP's, keeps that for photos here.
        self._function = getattr(function, "image_processor", None) or function
        self.name = _name(self._function)
        self._placements: dict[tuple[int, int], Placement | None] = {}
        with _random_state_kept():
            example = self._same(_noise(_TRIED), _CALLS)
            self._calibration: Calibration = calibrated(self._output, _TRIED)
        self.size = cast("tuple[int, int]", tuple(example.shape[1:]))
        self.mean, self.std = self._calibration.normalisation(len(example))
        self._probe = [round(float(value), 3) for value in example.double().mean(dim=(1, 2))]

    def __repr__(self) -> str:
        return f"Transform({excerpt(self.name, 300)})"

    def __call__(self, photo: Image.Image) -> shapes.Image:
        """The model's input, (c, h, w) float32."""
        with _random_state_kept():
            return self._same(photo, 2)

    def placement(self, photo_size: tuple[int, int]) -> Placement | None:
        """Where the input is in a (width, height) photo; None if it could not be found."""
        if photo_size not in self._placements:
            if len(self._placements) >= _REMEMBERED:
                self._placements.clear()
            self._placements[photo_size] = self._found(photo_size)
        return self._placements[photo_size]

    def view(self, photo: Image.Image) -> Image.Image:
        """The model's input as a picture."""
        return self.unnormalise(self(photo))

    def unnormalise(self, image: shapes.Image) -> Image.Image:
        """An input (c, h, w) as an RGB picture, stretched if the normalisation is not known."""
        mean, std = self.colours()
        values = image.detach().cpu().float() * std + mean
        return rgb_picture(self._calibration.in_rgb(values))

    def remarks(self, photo_size: tuple[int, int]) -> tuple[str, ...]:
        """A remark if maps cannot be shown on a photo of this size."""
        if self.placement(photo_size) is not None:
            return ()
        remark = (
            "Where the model's input is in the photo could not be found for the transform "
            f"{excerpt(self.name, 200)}, so the map is shown on the input itself."
        )
        return (remark,)

    def to_dict(self) -> dict[str, object]:
        """Its `repr`, the size of its output, and the mean of each colour for a fixed picture."""
        return {"transform": self.name, "size": list(self.size), "probe": self._probe}

    def _found(self, photo_size: tuple[int, int]) -> Placement | None:
        levels = self._calibration.levels
        if levels is None:
            return None
        try:
            with _random_state_kept():
                return find_placement(self._output, levels, photo_size)
        except SettingError:  # it worked on the photo itself, but not on a plain picture
            return None

    def _same(self, photo: Image.Image, calls: int) -> Tensor:
        """The output, if it is the same each time.

        Raises:
            SettingError: it is not.
        """
        first = self._output(photo)
        for _ in range(calls - 1):
            other = self._output(photo)
            if other.shape != first.shape or not torch.equal(first, other):
                raise SettingError(
                    f"The transform {excerpt(self.name)} gives different tensors for one photo.",
                    likely="It is meant for training, and has random steps.",
                    do="Give the transform that evaluates the model, without random steps.",
                )
        return first

    def _output(self, photo: Image.Image) -> Tensor:
        """The tensor of one call, c h w float32."""
        try:
            value = self._function(photo.copy())  # it may change the photo
        except ScorecamError:
            raise
        except Exception as error:  # the user's code may raise anything
            raise SettingError(
                f"The transform {excerpt(self.name)} fails on a photo of {photo.width} × "
                f"{photo.height} pixels: {type(error).__name__}: {reason(error)}",
                do=_DO,
            ) from error
        return _as_tensor(value, self.name)


def _as_tensor(value: Any, name: str) -> Tensor:
    """What a transform returned, as a dense tensor c h w float32 on the CPU.

    Raises:
        SettingError: it is not an image, or has NaN or infinity.
    """
    if isinstance(value, Mapping) or hasattr(value, "pixel_values"):
        value = cast("Mapping[str, Any]", value).get("pixel_values")
    if isinstance(value, list | tuple) and len(value) == 1:
        value = cast("list[Any]", value)[0]
    if isinstance(value, np.ndarray) and value.dtype.kind in "fui":
        value = torch.as_tensor(np.ascontiguousarray(value))
    if not isinstance(value, Tensor) or not _is_plain(value):
        raise SettingError(
            f"The transform {excerpt(name)} returns {_kind(value)}, not a tensor.",
            likely="It ends before the photo becomes a tensor." if _is_picture(value) else "",
            do="Add torchvision's ToTensor() as its last step." if _is_picture(value) else _DO,
        )
    image = value.detach().as_subclass(Tensor).to("cpu", torch.float32)
    image = image[0] if image.ndim == 4 and len(image) == 1 else image
    if image.ndim != 3 or 0 in image.shape:
        raise SettingError(
            f"The transform {excerpt(name)} returns the shape {tuple(value.shape)}, not (c, h, w).",
            do=_DO,
        )
    if not image.isfinite().all():
        raise SettingError(
            f"The transform {excerpt(name)} returns NaN or infinity.",
            do="Check its normalisation: a standard deviation may be 0.",
        )
    return image.clone()


def _is_plain(value: Tensor) -> bool:
    """Whether it has numbers that can be read: it is dense, real and not quantised."""
    special = value.is_complex() or value.is_meta or value.is_quantized
    return value.layout == torch.strided and not special


def _kind(value: Any) -> str:
    return "nothing" if value is None else f"a value of type {excerpt(type(value).__name__)}"


def _is_picture(value: Any) -> bool:
    return isinstance(value, Image.Image)


def _name(function: Any) -> str:
    """The `repr` on one line, without addresses, which differ in every process."""
    try:
        text = repr(function)
    except Exception:  # noqa: BLE001  (a foreign `__repr__` may raise any error)
        text = type(function).__name__
    if hasattr(function, "__qualname__"):
        text = f"{getattr(function, '__module__', '')}.{function.__qualname__}"
    return one_line(re.sub(r" at 0x[0-9a-fA-F]+", "", text), _LONGEST_NAME)


def _noise(size: tuple[int, int]) -> Image.Image:
    """A fixed picture in which every position is different."""
    width, height = size
    values = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(values)


@contextmanager
def _random_state_kept() -> Generator[None]:
    """Leave the global random numbers as they were: a random transform draws from them."""
    # ruff: noqa: NPY002  (the generator that transforms draw from)
    states: Any = random.getstate(), np.random.get_state(), torch.get_rng_state()
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
        torch.set_rng_state(states[2])
