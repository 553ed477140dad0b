"""Class discrimination: whether the maps of two classes separate their objects.

Figures 4, 6 and 7 of Wang et al. 2020 show examples; this module measures it. On a photo with
objects of two classes, a and b, the map of a is right if it has a larger share of its energy in
the mask of a's object than the map of b has.
"""

from __future__ import annotations

import math

from scorecam.metrics.localisation import Region
from scorecam.shapes import Heatmap


def energy(heatmap: Heatmap, region: Region) -> float:
    """The share of a map's sum that is in a region, in [0, 1]; NaN for a map of zeros."""
    positive = heatmap.clamp(min=0).double()
    total = float(positive.sum())
    return float((positive * region.to(positive)).sum()) / total if total > 0 else math.nan


def discriminates(own: Heatmap, other: Heatmap, region: Region) -> bool | None:
    """Whether the map of the object's class has a larger share of its energy there than the other.

    None if one of the maps is zero everywhere, or if both have the same share there.
    """
    one, two = energy(own, region), energy(other, region)
    if math.isnan(one) or math.isnan(two) or one == two:
        return None
    return one > two
