"""Whether the maps of two classes tell their objects apart.

Figures 4, 6 and 7 of Wang et al. 2020 show it; here it is counted. On a photo with objects of two
classes, the map of class a is right about a's object when it puts a larger share of its energy into
that object's mask than the map of class b does.
"""

from __future__ import annotations

import math

from scorecam.metrics.localisation import Region
from scorecam.shapes import Heatmap


def energy(heatmap: Heatmap, region: Region) -> float:
    """The share of a map's sum that lies in a region, in [0, 1]; NaN for a map of zeros."""
    positive = heatmap.clamp(min=0).double()
    total = float(positive.sum())
    return float((positive * region.to(positive)).sum()) / total if total > 0 else math.nan


def discriminates(own: Heatmap, other: Heatmap, region: Region) -> bool | None:
    """Whether the map of the object's class puts more of its energy there than the other's.

    None where one of the maps is zero everywhere, or both put the same share there.
    """
    one, two = energy(own, region), energy(other, region)
    if math.isnan(one) or math.isnan(two) or one == two:
        return None
    return one > two
