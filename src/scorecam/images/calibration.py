"""How a transform normalises colours, from pictures of one colour."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from scorecam.images.coordinates import Floats, Levels

_GREYS = tuple(range(0, 256, 17))


@dataclass(frozen=True, eq=False)
class Calibration:
    """What the transform makes of grey levels and of the three primary colours.

    Args:
        greys: (m, c), the outputs for `_GREYS`, from black to white.
        order: the channel that shows red, green and blue most; None if they cannot be told apart.
    """

    greys: Tensor
    order: tuple[int, int, int] | None

    @property
    def _range(self) -> Tensor:
        """White minus black, (c,)."""
        return self.greys[-1] - self.greys[0]

    @property
    def _known(self) -> bool:
        """Whether every channel differs between black and white."""
        return bool((self._range.abs() > 1e-6 * (1 + self.greys.abs().amax())).all())

    def normalisation(self, channels: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Mean and standard deviation of each channel, where white is 1; 0 and 1 if not known."""
        if not self._known:
            return (0.0,) * channels, (1.0,) * channels
        std = 1 / self._range.double()
        mean = -self.greys[0].double() * std
        return tuple(mean.tolist()), tuple(std.tolist())

    @property
    def levels(self) -> Levels | None:
        """The function from an output to grey levels; None if greys cannot be told apart."""
        direction = self._range.double()
        strength = float(direction.square().sum())
        if strength < 1e-12:
            return None
        black = self.greys[0].double()
        shown = (((self.greys.double() - black) @ direction) / strength).tolist()
        if any(after - before < 1e-3 for before, after in pairwise(shown)):
            return None

        def levels(output: Tensor) -> Floats:
            away = output.double() - black[:, None, None]
            share = torch.einsum("chw,c->hw", away, direction) / strength
            return np.interp(share.numpy(), shown, [grey / 255 for grey in _GREYS])

        return levels

    def in_rgb(self, values: Tensor) -> Tensor:
        """Channels (c, h, w) without normalisation, as red, green and blue in [0, 1]."""
        if not self._known:
            values = values - values.amin()
            values = values / values.amax().clamp(min=1e-12)
        if len(values) == 3:
            return values if self.order is None else values[list(self.order)]
        return values.mean(dim=0, keepdim=True).expand(3, -1, -1)


def calibrated(
    transform: Callable[[Image.Image], Tensor], photo_size: tuple[int, int]
) -> Calibration:
    """The calibration of a transform, from pictures of this (width, height)."""
    primary = [(255, 0, 0), (0, 255, 0), (0, 0, 255)]
    colours = [(grey, grey, grey) for grey in _GREYS] + primary
    outputs = [transform(Image.new("RGB", photo_size, colour)) for colour in colours]
    if len({output.shape for output in outputs}) > 1:
        return Calibration(torch.zeros(len(_GREYS), len(outputs[0])), None)
    difference = (outputs[len(_GREYS) - 1] - outputs[0]).abs().sum(dim=0)
    covered = difference >= 0.97 * difference.amax()  # not where the output is padded
    values = torch.stack([output[:, covered].median(dim=1).values for output in outputs])
    greys, primaries = values[: len(_GREYS)], values[len(_GREYS) :]
    most = (primaries - greys[0]).abs().argmax(dim=1).tolist()
    order = (most[0], most[1], most[2]) if len(set(most)) == 3 else None
    return Calibration(greys, order)
