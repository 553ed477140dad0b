"""A heatmap blended with a picture, and values stretched to the brightness of a picture."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from scorecam.images.colours import colour

Pixels = npt.NDArray[np.float32]
"""Brightness in 0..255; colours are `h w 3`."""

GREY: Final = 128
"""The brightness of an input that is constant, or is not known."""

_LUMA: Final = np.array([0.299, 0.587, 0.114], np.float32)

_BRIGHTNESS, _SATURATION = 0.7, 0.35
"""Brightness and saturation of the picture where the heatmap is 0."""

_STRONGEST: Final = 0.85
"""How much the largest values cover the picture."""


def greys(rgb: Pixels) -> Pixels:
    """The brightness of every pixel, `h w 1`."""
    return (rgb @ _LUMA)[..., None]


def blended(rgb: Pixels, values: Pixels) -> Pixels:
    """The heatmap on a picture, which appears in muted colours where the heatmap is low.

    Args:
        rgb: `h w 3`, in 0..255.
        values: the heatmap, `h w`, in [0, 1].
    """
    grey = greys(rgb)
    muted = _BRIGHTNESS * (grey + _SATURATION * (rgb - grey))
    pixels = muted + (_STRONGEST * values)[..., None] * (colour(values) - muted)
    return pixels.astype(np.float32, copy=False)


def stretched(values: npt.NDArray[Any], low: float, high: float) -> Pixels:
    """The values from `low` to `high` as brightness from 0 to 255; grey if they are constant.

    Values that are not finite become the nearest end; NaN becomes 0.
    """
    if not low < high:
        return np.full(values.shape, GREY, np.float32)
    scaled = (values.astype(np.float64) - low) / (high - low)
    return (255 * np.nan_to_num(scaled).clip(0, 1)).astype(np.float32)


def finite_range(values: npt.NDArray[Any]) -> tuple[float, float]:
    """The smallest and the largest finite value; zeros if no value is finite."""
    finite = values[np.isfinite(values)]
    return (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
