"""Networks whose values are known by region, and images of equal regions, for tasks on numbers."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

import scorecam
from scorecam.testing import Regions, regions

PIXELS = 4
"""In each region."""

SIZES = {1: (24,), 2: (6, 9), 3: (3, 4, 5)}
"""The size of the image by its number of axes."""


def network(weights: list[list[float]], *after: nn.Module, axes: int = 2) -> nn.Module:
    """The values Σ_k W_tk over the visible regions k, one row of W per value.

    Its layer `0.maps` returns the image itself.
    """
    return nn.Sequential(Regions(torch.tensor(weights) / PIXELS, axes), *after).eval()


def image(colours: int = 3, axes: int = 2) -> Tensor:
    """Colour k is 1 on `PIXELS` pixels of its own."""
    return regions((PIXELS,) * colours, *SIZES[axes])


def by_region(heatmap: Tensor, shown: Tensor) -> list[float]:
    """The map's value in each region, after checking that it is 0 outside of all regions."""
    assert not heatmap[shown.sum(0) == 0].any()
    values = [heatmap[colour > 0] for colour in shown]
    for each in values:
        assert (each == each[0]).all()
    return [round(float(each[0]), 5) for each in values]


def explained(
    net: nn.Module | scorecam.Model, task: Any, target: Any = None, **settings: Any
) -> scorecam.Explanation:
    """The explanation of `image` by a task, in the layer that shows the regions."""
    shown = settings.pop("shown", image())
    settings.setdefault("layer", "0.maps")
    return scorecam.explain(net, shown, target, task=task, **settings)


class Named(nn.Module):
    """The columns of a network's output as parts of a dict, or of a tuple.

    Args:
        parts: how many columns each part has.
    """

    def __init__(self, net: nn.Module, parts: dict[str, int], *, as_tuple: bool = False) -> None:
        super().__init__()
        self.net, self.parts, self.as_tuple = net, parts, as_tuple

    def forward(self, x: Tensor) -> Any:
        found = dict(zip(self.parts, self.net(x).split(list(self.parts.values()), 1), strict=True))
        return tuple(found.values()) if self.as_tuple else found
