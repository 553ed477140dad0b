"""The preprocessing of a Hugging Face folder, from its preprocessor_config.json."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np
from PIL import Image

from scorecam.base.wording import reason
from scorecam.errors import ModelError, ScorecamError, SettingError
from scorecam.images.preprocess import Preprocess
from scorecam.images.preprocessing import Preprocessing
from scorecam.images.resampling import Interpolation
from scorecam.images.transform import Transform
from scorecam.io.reading import Kind, read_json

NESTED = "image_processor"
"""The entry of a processor_config.json that belongs to images."""

FILE = Kind("a preprocessor_config.json that transformers wrote", 2**20, ModelError)

_FILTERS: Mapping[int, Interpolation] = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic"}

_TRIED = ((400, 300), (300, 500), (393, 300))
"""(width, height) of pictures that are compared. In the last one, a centre falls between pixels."""

_LEVELS = 2.5
"""Of 255: by how much pixels may differ. Resizing a tensor differs from Pillow by one or two."""


def preprocess_of(transformers: Any, folder: Path) -> tuple[Preprocessing | None, list[str]]:
    """How photos become inputs, and remarks.

    A plain resize, crop and normalisation becomes a `Preprocess`, if its pixels are those of
    transformers' own image processor. Otherwise that processor is used.

    Raises:
        ModelError: the file is damaged.
    """
    plain = _stored(folder)
    if plain is None:
        return None, ["The folder has no preprocessor_config.json; pass preprocess= for photos."]
    try:
        processor = transformers.AutoImageProcessor.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False
        )
        own = Transform(processor)
    except Exception as error:  # noqa: BLE001  unknown processors, missing libraries, damaged values
        simple = _simple(_reader(plain))
        cause = error.what if isinstance(error, ScorecamError) else reason(error)
        how = "its preprocessor_config.json was read without it" if simple else "pass preprocess="
        return simple, [f"transformers could not make the image processor ({cause}); {how}."]
    simple = _simple(_reader(processor))
    return (simple if simple is not None and _alike(simple, own) else own), []


def _stored(folder: Path) -> dict[str, Any] | None:
    """The settings of the image processor, also of one that shares a file with a tokenizer.

    None if the folder has no such file.

    Raises:
        ModelError: the file is damaged.
    """
    for name, inside in (("preprocessor_config.json", ""), ("processor_config.json", NESTED)):
        if not (folder / name).is_file():
            continue
        values: Any = read_json(folder / name, FILE)
        if inside and isinstance(values, dict) and inside in values:
            values = cast("dict[str, Any]", values)[inside]
        elif inside:
            continue  # of a processor of texts
        if not isinstance(values, dict):
            raise ModelError(f"{name} is not an object.", do=f"Give {FILE.name}.")
        return cast("dict[str, Any]", values)
    return None


def _alike(simple: Preprocess, own: Preprocessing) -> bool:
    """Whether both give the same pixels for pictures of several shapes."""
    random = np.random.default_rng(0)
    for width, height in _TRIED:
        grain = random.integers(0, 256, (height // 20, width // 20, 3), dtype=np.uint8)
        photo = Image.fromarray(grain).resize((width, height), Image.Resampling.BICUBIC)
        one, other = simple(photo), own(photo)
        if one.shape != other.shape:
            return False
        limit = _LEVELS / 255 / simple.colours()[1]
        if ((one - other).abs() > limit).any():
            return False
    return True


def _reader(values: Any) -> Callable[[str], Any]:
    """A function from a name to the value, or None, in a dict or an object."""

    def read(name: str) -> Any:
        if isinstance(values, Mapping):
            return cast("Mapping[str, Any]", values).get(name)
        return getattr(values, name, None)

    return read


def stated(values: Mapping[str, Any]) -> Preprocess | None:
    """The preprocessing that a file states by itself, without transformers.

    None if it has a step that is not known here, or leaves a value to the defaults of a class.
    """
    if any(values[key] for key in values if key.startswith("do_") and key not in _STEPS):
        return None
    if values.get("rescale_offset") or values.get("crop_pct"):
        return None
    if "crop_size" in values and "do_center_crop" not in values:
        return None
    # Processors that flip the colours do not normalise.
    normalised = values.get("do_normalize", "do_flip_channel_order" not in values)
    if normalised is not False and not (values.get("image_mean") and values.get("image_std")):
        return None
    return _simple(_reader({**values, "do_normalize": normalised}))


_STEPS = (
    "do_center_crop",
    "do_convert_rgb",
    "do_flip_channel_order",
    "do_normalize",
    "do_rescale",
    "do_resize",
)
"""The steps of a processor that become a `Preprocess`."""


def _simple(get: Callable[[str], Any]) -> Preprocess | None:
    """A resize, a crop and a normalisation; None if the settings describe something else.

    Args:
        get: from the name of a setting to its value, or None.
    """
    try:
        return _made(get)
    except (SettingError, ArithmeticError, TypeError, ValueError):  # damaged values
        return None


def _made(get: Callable[[str], Any]) -> Preprocess | None:
    size, crop = _sides(get("size")), _sides(get("crop_size"))
    if get("do_resize") is False or size is None or get("do_pad"):
        return None
    fit, fraction, input_size = "squash", 1.0, size
    if get("do_center_crop"):
        if crop is None or crop[0] != crop[1] or size[1] is not None or crop[0] > size[0]:
            return None
        fit, fraction, input_size = "resize_crop", crop[0] / size[0], crop
    if input_size[1] is None or get("resample") not in _FILTERS:
        return None
    black, step = _scale(get)
    return Preprocess(
        size=cast("tuple[int, int]", input_size),
        fit=fit,  # type: ignore[arg-type]
        fraction=fraction,
        mean=tuple(-value / by for value, by in zip(black, step, strict=True)),
        std=tuple(1 / by for by in step),
        interpolation=_FILTERS[get("resample")],
        channels="bgr" if get("do_flip_channel_order") else "rgb",
    )


def _sides(size: Any) -> tuple[int, int | None] | None:
    """(height, width); (short side, None) for a resize that keeps the shape; None if unknown."""
    if isinstance(size, int):
        return size, size
    get = _reader(size)
    height, width, short = get("height"), get("width"), get("shortest_edge")
    if isinstance(height, int) and isinstance(width, int):
        return height, width
    return (short, None) if isinstance(short, int) and not get("longest_edge") else None


def _scale(get: Callable[[str], Any]) -> tuple[list[float], list[float]]:
    """The value of black, and the difference of white to it, of each colour."""
    factor = get("rescale_factor") if get("do_rescale") is not False else 1.0
    white = 255 * (1 / 255 if factor is None else float(factor))
    mean, std = get("image_mean"), get("image_std")
    if get("do_normalize") is False or mean is None or std is None:
        mean, std = [0.0] * 3, [1.0] * 3
    means = [float(value) for value in (mean if isinstance(mean, list | tuple) else [mean] * 3)]
    stds = [float(value) for value in (std if isinstance(std, list | tuple) else [std] * 3)]
    return [-m / s for m, s in zip(means, stds, strict=True)], [white / s for s in stds]
