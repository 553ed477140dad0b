"""How much of each photo's map is in each named region."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt

from scorecam.audit.geometry import REGIONS, Map, of_region
from scorecam.audit.significance import Pool
from scorecam.audit.thresholds import MIN_PHOTOS

Shares = Annotated[npt.NDArray[np.float64], "n regions"]
Indices = Annotated[npt.NDArray[np.int_], "n"]


@functools.lru_cache(maxsize=64)
def _regions(grid: tuple[int, int]) -> Any:
    return np.stack([of_region(region, grid).ravel() for region in REGIONS])


def shares(maps: Sequence[Map], cells: Sequence[Map | None]) -> tuple[Shares, Shares]:
    """The share of each map in each named region, and that of a uniform map.

    Args:
        maps: one for each photo.
        cells: for each map, how much of each cell counts; None if every cell counts in full.
    """
    own, uniform = np.zeros((len(maps), len(REGIONS))), np.zeros((len(maps), len(REGIONS)))
    for row, (heat, counted) in enumerate(zip(maps, cells, strict=True)):
        regions = _regions((heat.shape[0], heat.shape[1]))
        if counted is not None:
            regions = regions * counted.ravel()
        own[row] = regions @ heat.ravel() / max(float(heat.sum()), 1e-12)
        uniform[row] = regions.mean(axis=1)
    return own, uniform


class ShareTable:
    """The shares of many photos' maps, to compare any of them with the others.

    Shares outside the object are compared only with shares outside the object.

    Args:
        maps: one for each photo.
        outside: the cells outside the object; None if unknown.
    """

    def __init__(self, maps: Sequence[Map], outside: Sequence[Map | None]) -> None:
        self._known = np.array([cells is not None for cells in outside], bool)
        self._whole = shares(maps, [None] * len(maps))
        self._outside = shares(maps, outside)
        self._pools = Pool(self._whole[0]), Pool(self._outside[0][self._known])

    def select(self, photos: Indices, *, boxes: bool) -> tuple[Indices, Shares, Shares]:
        """Those of the photos that are usable, their shares, and the shares of a uniform map.

        Args:
            photos: indices.
            boxes: whether only cells outside the object count; photos without boxes are left out.
        """
        photos = photos[self._known[photos]] if boxes else photos
        own, uniform = self._outside if boxes else self._whole
        return photos, own[photos], uniform[photos]

    def compare(
        self, photos: Indices, min_delta: float, *, boxes: bool
    ) -> tuple[list[float], list[float]]:
        """For each region, Cliff's delta and p of the photos against all other usable photos.

        Args:
            photos: indices.
            min_delta: as in `Pool.compare`.
            boxes: as in `select`.
        """
        mine = np.zeros(len(self._known), bool)
        mine[photos] = True
        return self._pools[boxes].compare(mine[self._known] if boxes else mine, min_delta)

    def has_boxes(self, photos: Indices, at_least: int = MIN_PHOTOS) -> bool:
        """Whether enough of the photos have boxes that the others can be left out."""
        return int(self._known[photos].sum()) >= at_least
