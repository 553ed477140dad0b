"""A model whose passes cost almost nothing, so that the time of everything else shows."""

from __future__ import annotations

import torch

from scorecam.base.interpolation import upsample
from scorecam.model.model import Inputs, Layer, Model
from scorecam.model.readout import Readout
from scorecam.shapes import BatchedActivations, BatchedScores, Images

SAMPLES = 8
"""A pass reads this number of pixels along each axis."""


PATTERNS = 8
"""Patterns that the maps are mixtures of."""


class Stub(Model):
    """Random maps, the same for every image, and scores that are linear in a few of its pixels.

    Args:
        channels: the number of maps.
        grid: the side of the maps.
        classes: the number of scores.
    """

    axes, device, precision = 2, torch.device("cpu"), "float32"
    preprocess, names, head, remarks = None, None, "logits", ()
    spec = "stub"

    def __init__(self, channels: int, grid: int, classes: int) -> None:
        generator = torch.Generator().manual_seed(0)
        # Mixtures of a few patterns, as in a trained network, so that few masks determine the map.
        patterns = torch.rand(PATTERNS, 4, 4, generator=generator)
        mixtures = torch.rand(channels, PATTERNS, generator=generator) ** 4
        maps = upsample((mixtures @ patterns.flatten(1)).reshape(-1, 4, 4), (grid, grid))
        self.maps = maps + 0.02 * torch.rand(channels, grid, grid, generator=generator)
        weights = torch.randn(3 * SAMPLES**2, classes, generator=generator)
        self.weights = weights / SAMPLES

    def layers(self, images: Images) -> list[Layer]:  # noqa: ARG002
        channels, *grid = self.maps.shape
        return [
            Layer(
                "maps",
                grid=tuple(grid),
                channels=channels,
                layout="channels first",
                default=True,
                why="the only one",
            )
        ]

    def find_layer(self, layer: object, images: Images) -> str:  # noqa: ARG002
        return "maps"

    def activations(self, images: Images, layer: str) -> tuple[BatchedActivations, BatchedScores]:  # noqa: ARG002
        return self.maps.repeat(len(images), 1, 1, 1), self.scores(images)

    def scores(self, images: Images) -> BatchedScores:
        down, across = (pixels // SAMPLES for pixels in images.shape[2:])
        some = images[:, :, ::down, ::across][:, :, :SAMPLES, :SAMPLES]
        return some.flatten(1) @ self.weights

    def with_readout(self, readout: Readout) -> Model:
        raise NotImplementedError

    def split_inputs(self, inputs: Inputs) -> tuple[Images, list[Model]]:
        raise NotImplementedError
