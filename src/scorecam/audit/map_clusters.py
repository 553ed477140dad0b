"""Groups of a class's maps, and the photos that stand for each.

As in SpRAy (Lapuschkin et al. 2019), with k-means instead of spectral clustering: a class of a
run has tens of photos rather than thousands.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from scorecam.audit.geometry import Map, resampled
from scorecam.audit.item import Item
from scorecam.io.extras import require

SIDE = 8
"""Cells along each axis that maps of any grid are brought to."""

FEWEST = 8
"""Maps of a class that are worth dividing."""

MOST = 4
"""Clusters of a class, at most."""

CLEAR = 0.25
"""The silhouette from which a division counts (Kaufman and Rousseeuw 1990: below, no structure)."""


@dataclass(frozen=True, eq=False)
class Cluster:
    """Photos of a class whose maps are alike.

    Args:
        mean: their mean map, `SIDE SIDE`, with a sum of 1.
        photos: ids, those nearest to the mean first.
        part: of the class's photos.
    """

    mean: Map
    photos: tuple[str, ...]
    part: float


def clusters(items: Sequence[Item]) -> tuple[Cluster, ...]:
    """The groups that the maps of a class fall into, the largest first; one where they don't.

    Maps are compared as distributions, by Hellinger's distance.
    """
    known = [item for item in items if not item.flat]
    if not known:
        return ()
    maps = np.stack([resampled(item.map, SIDE) for item in known])
    points = np.sqrt(maps.reshape(len(known), -1))
    groups = _groups(points) if len(known) >= FEWEST else np.zeros(len(known), int)
    found: list[Cluster] = []
    for group in np.unique(groups):
        [members] = np.nonzero(groups == group)
        centre = points[members].mean(axis=0)
        far = np.linalg.norm(points[members] - centre, axis=1)
        ids = tuple(known[members[place]].id for place in np.argsort(far, kind="stable"))
        found.append(Cluster(maps[members].mean(axis=0), ids, len(members) / len(known)))
    return tuple(sorted(found, key=lambda cluster: -len(cluster.photos)))


def _groups(points: Any) -> Any:
    """The number of the cluster of each point, by the division with the best silhouette."""
    purpose = "group the maps of an audit"
    cluster = require("sklearn.cluster", "audit", purpose)
    metrics = require("sklearn.metrics", "audit", purpose)
    best, least = np.zeros(len(points), int), CLEAR
    distinct = len(np.unique(points.round(6), axis=0))
    for count in range(2, min(MOST, distinct, len(points) - 1) + 1):
        groups = cluster.KMeans(count, n_init="auto", random_state=0).fit_predict(points)
        clear = float(metrics.silhouette_score(points, groups))
        if clear > least:
            best, least = groups, clear
    return best
