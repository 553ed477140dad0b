"""Preprocessing and class names from OpenVINO's `model_info`, as its Model API reads them.

Values are texts: "123.675 116.28 103.53", "True", "fit_to_window_letterbox". Means and scales are
for pixels in 0..255, in the order in which the network takes the colours.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from scorecam.backends.deployed.literals import sequence_of
from scorecam.backends.deployed.stated import (
    NetworkInput,
    Stated,
    fitted,
    known_size,
    number_of,
    text_of,
)
from scorecam.base.wording import quoted
from scorecam.images.preprocess import Anchor, Fit, Preprocess
from scorecam.images.preprocessing import Channels

PREFIX = "model_info "
"""How the keys begin in the metadata of an ONNX file."""

_KEYS = ("mean_values", "scale_values", "resize_type", "reverse_input_channels", "pad_value")

_RESIZES: Mapping[str, tuple[Fit, Anchor]] = {
    "standard": ("squash", "centre"),
    "crop": ("crop_resize", "centre"),
    "fit_to_window": ("letterbox", "top_left"),
    "fit_to_window_letterbox": ("letterbox", "centre"),
}

_RGB_WRITERS = ("otx_version", "getitune_version")
"""Keys of programs that pass RGB pictures; others pass BGR, as OpenCV reads them."""

_PLAIN = {"input_dtype": ("", "u8"), "intensity_mode": ("", "none")}
"""The values of settings that change nothing for ordinary photos."""

_READ = (
    *("labels", "model_type", "embedded_processing", "orig_height", "orig_width"),
    *_KEYS,
    *_RGB_WRITERS,
    *_PLAIN,
)


def preprocess_of(metadata: Mapping[str, str], given: NetworkInput) -> Stated | None:
    """The preprocessing; None if there is no `model_info` about it.

    Raises:
        ValueError: it cannot be used.
    """
    values = _values(metadata)
    if not any(values.get(key) for key in _KEYS):
        return None
    if _is_true(values, "embedded_processing"):
        raise ValueError("the network has its preprocessing inside (embedded_processing)")
    for key, plain in _PLAIN.items():
        if values.get(key, "") not in plain:
            raise ValueError(f"{key} is {quoted(values[key])}, which is not supported")
    fit, anchor = _resize(values)
    mean, std = _normalisation(values, given.colours or 3)
    channels, remarks = _channels(values) if len(mean) == 3 else ("rgb", ())
    preprocess = Preprocess(
        size=known_size(_own_size(values), given),
        fit=fit,
        fraction=1.0,
        mean=mean,
        std=std,
        interpolation="linear",
        channels=channels,
        padding=number_of("pad_value", values.get("pad_value") or "0") / 255,
        anchor=anchor,
    )
    stated = fitted(preprocess, given)
    return Stated(stated.preprocess, (*stated.remarks, *remarks))


def names_of(metadata: Mapping[str, str]) -> tuple[str, ...] | None:
    """The class names. Model API separates them by white space; a list is accepted too.

    Raises:
        ValueError: they cannot be told apart.
    """
    text = _values(metadata).get("labels", "")
    if not text:
        return None
    if text[0] in "[({":
        return sequence_of(text)
    names = tuple(text.split())
    if len(names) == 1 and "," in text:
        raise ValueError("its labels are separated by commas, where white space is expected")
    return names


def _values(metadata: Mapping[str, str]) -> dict[str, str]:
    """The values that are read, by their keys without the prefix; "None" is no value."""
    plain = {key.removeprefix(PREFIX): value for key, value in metadata.items()}
    values = {key: text_of(plain[key]) for key in _READ if key in plain}
    return {key: value for key, value in values.items() if value != "None"}


def _is_true(values: Mapping[str, str], key: str) -> bool:
    return values.get(key, "").lower() in ("true", "yes", "1")


def _resize(values: Mapping[str, str]) -> tuple[Fit, Anchor]:
    kind = values.get("resize_type") or "standard"
    if kind not in _RESIZES:
        raise ValueError(f"resize_type cannot be {quoted(kind)}")
    if "resize_type" not in values and values.get("model_type", "").lower().startswith("yolo"):
        raise ValueError("resize_type is missing, and YOLO networks differ in it")
    return _RESIZES[kind]


def _normalisation(
    values: Mapping[str, str], colours: int
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation, where white is 1."""
    means, scales = (_numbers(values, key) for key in ("mean_values", "scale_values"))
    colours = max(colours, len(means), len(scales))
    means, scales = means or (0.0,), scales or (1.0,)
    mean, std = (
        tuple(value / 255 for value in (group * colours if len(group) == 1 else group))
        for group in (means, scales)
    )
    return mean, std


def _numbers(values: Mapping[str, str], key: str) -> tuple[float, ...]:
    words = re.split(r"[\s,]+", values.get(key, "").strip("[]() "))
    return tuple(number_of(key, word) for word in words if word)


def _own_size(values: Mapping[str, str]) -> tuple[int, int] | None:
    sides = [values.get(key, "") for key in ("orig_height", "orig_width")]
    if not all(side.isdecimal() and len(side) < 7 and int(side) for side in sides):
        return None
    return int(sides[0]), int(sides[1])


def _channels(values: Mapping[str, str]) -> tuple[Channels, tuple[str, ...]]:
    """The order of the colours, and a remark if it is not certain.

    `reverse_input_channels` is relative to the pictures that a program passes.
    """
    reverse = _is_true(values, "reverse_input_channels")
    if any(key in values for key in _RGB_WRITERS):
        return ("bgr" if reverse else "rgb"), ()
    if reverse:
        return "rgb", ()
    remark = (
        "Its model_info does not reverse the colours, so the network takes them as its program "
        "passes them. RGB is used. If that program passes BGR, as OpenCV reads photos, give "
        'preprocess= (--preprocess) with channels "bgr".'
    )
    return "rgb", (remark,)
