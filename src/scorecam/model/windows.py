"""Overlapping windows of an image, and the way back from their values to the whole image.

Where windows overlap, their values are averaged with weights that fall towards the borders of a
window, where a network sees padding instead of the image.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from scorecam.errors import SettingError
from scorecam.shapes import Images

Blend = Literal["gaussian", "constant"]

SIGMA = 0.125
"""Standard deviation of the gaussian weights, as a part of the window; MONAI's default."""


@dataclass(frozen=True)
class Windows:
    """Where the windows are in an image, and how their values are stitched."""

    size: tuple[int, ...]
    overlap: float
    blend: Blend

    def starts(self, image: Sequence[int]) -> list[tuple[int, ...]]:
        """The first pixel of every window. The last window of an axis ends with the image."""
        axes = [
            _starts(whole, one, self.overlap) for whole, one in zip(image, self.size, strict=True)
        ]
        return list(itertools.product(*axes))

    def parts(self, images: Images) -> Iterator[tuple[tuple[int, ...], Images]]:
        """Each window of the images, with its first pixel."""
        for start in self.starts(images.shape[2:]):
            inside = [slice(a, a + n) for a, n in zip(start, self.size, strict=True)]
            yield start, images[(..., *inside)]

    def grid(self, cells: Sequence[int], image: Sequence[int]) -> tuple[int, ...]:
        """The cells of the whole image, where one window has this many."""
        sizes = zip(cells, self.size, image, strict=True)
        return tuple(max(1, round(n * whole / one)) for n, one, whole in sizes)

    def stitched(
        self, parts: Sequence[tuple[tuple[int, ...], Tensor]], image: Sequence[int]
    ) -> Tensor:
        """Values of the windows, `b m *g`, as values of the image, `b m *G`.

        Each cell of the image is the weighted mean over the windows that it is in, of their
        values interpolated linearly at its centre.
        """
        first = parts[0][1]
        grid = self.grid(first.shape[2:], image)
        total, weights = first.new_zeros(*first.shape[:2], *grid), first.new_zeros(grid)
        for start, values in parts:
            placed, weight = values, values.new_ones(())
            for axis, whole in enumerate(grid):
                cells = values.shape[axis + 2]
                sizes = {"cells": cells, "grid": whole, "image": image[axis]}
                matrix = self._matrix(axis, start[axis], **sizes).to(values)
                placed = (placed.movedim(axis + 2, -1) @ matrix.T).movedim(-1, axis + 2)
                weight = weight[..., None] * matrix.sum(dim=1)
            total += placed
            weights += weight
        return total / weights

    def _matrix(self, axis: int, start: int, *, cells: int, grid: int, image: int) -> Tensor:
        """Weights that turn a window's cells into the image's along one axis, `G g` float64."""
        size = self.size[axis]
        centres = (torch.arange(grid, dtype=torch.float64) + 0.5) * (image / grid) - start
        inside = (centres >= 0) & (centres < size)
        place = (centres / size * cells - 0.5).clamp(0, cells - 1)
        low = place.floor().long().clamp(max=max(0, cells - 2))
        part = place - low
        matrix = torch.zeros(grid, cells, dtype=torch.float64)
        rows = torch.arange(grid)
        matrix[rows, low] = 1 - part
        matrix[rows, (low + 1).clamp(max=cells - 1)] += part
        if self.blend == "gaussian":
            inside = inside * torch.exp(-((centres / size - 0.5) ** 2) / (2 * SIGMA**2))
        return matrix * inside[:, None]


def _starts(image: int, window: int, overlap: float) -> list[int]:
    if image < window:
        raise SettingError(
            f"The image has {image} pixels along an axis, and the windows have {window}.",
            likely="The image fits into one window.",
            do="Open the model without windows, or choose smaller ones.",
        )
    step = max(1, int(window * (1 - overlap)))
    return [min(step * i, image - window) for i in range(math.ceil((image - window) / step) + 1)]
