"""Clusters of a class's maps, with the most typical photos of each.

As in SpRAy (Lapuschkin et al. 2019), with k-means instead of spectral clustering, because a class
has tens of photos rather than thousands.
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
"""Maps are resampled to this many cells along each axis."""

MIN_MAPS = 8
"""The least number of maps of a class that are clustered."""

MAX_CLUSTERS = 4
"""The largest number of clusters of a class."""

MIN_SILHOUETTE = 0.25
"""Below this mean silhouette, there is no structure (Kaufman and Rousseeuw 1990)."""


@dataclass(frozen=True, eq=False)
class Cluster:
    """Photos of a class with similar maps.

    Args:
        mean: the mean of their maps, `SIDE SIDE`, with a sum of 1.
        photos: ids, nearest to the mean first.
        part: their share of the class's photos.
    """

    mean: Map
    photos: tuple[str, ...]
    part: float


def clusters(items: Sequence[Item]) -> tuple[Cluster, ...]:
    """The clusters of a class's maps, largest first; a single one if there is no structure.

    Maps are compared as distributions, by the Hellinger distance.
    """
    known = [item for item in items if not item.flat]
    if not known:
        return ()
    maps = np.stack([resampled(item.map, SIDE) for item in known])
    points = np.sqrt(maps.reshape(len(known), -1))
    groups = _groups(points) if len(known) >= MIN_MAPS else np.zeros(len(known), int)
    result: list[Cluster] = []
    for group in np.unique(groups):
        [members] = np.nonzero(groups == group)
        centre = points[members].mean(axis=0)
        distances = np.linalg.norm(points[members] - centre, axis=1)
        ids = tuple(known[members[index]].id for index in np.argsort(distances, kind="stable"))
        result.append(Cluster(maps[members].mean(axis=0), ids, len(members) / len(known)))
    return tuple(sorted(result, key=lambda cluster: -len(cluster.photos)))


def _groups(points: Any) -> Any:
    """The cluster number of each point, for the clustering with the best silhouette."""
    purpose = "cluster the maps of an audit"
    cluster = require("sklearn.cluster", "audit", purpose)
    metrics = require("sklearn.metrics", "audit", purpose)
    best, best_silhouette = np.zeros(len(points), int), MIN_SILHOUETTE
    distinct = len(np.unique(points.round(6), axis=0))
    for count in range(2, min(MAX_CLUSTERS, distinct, len(points) - 1) + 1):
        groups = cluster.KMeans(count, n_init="auto", random_state=0).fit_predict(points)
        silhouette = float(metrics.silhouette_score(points, groups))
        if silhouette > best_silhouette:
            best, best_silhouette = groups, silhouette
    return best
