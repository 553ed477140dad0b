"""Measurements of the map of a box or a region: whether it can show it, and whether it does."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from statistics import fmean

import torch
from torch import Tensor, nn

from scorecam import cam
from scorecam.bank.bank import ScoreBank
from scorecam.metrics.localisation import covered
from scorecam.shapes import Heatmap
from scorecam.trust.checked_map import CheckedMap
from scorecam.trust.evidence import OTHER_CLASSES, Measured

MOST = 100.0
"""The largest ratio that is reported: other maps may be zero in the place."""

_POOLS = nn.functional.max_pool1d, nn.functional.max_pool2d, nn.functional.max_pool3d


def region(checked: CheckedMap) -> Tensor | None:
    """How much of each pixel is in the box or the region of the target, `*i`; None without one."""
    return _region_of(checked.bank, checked.target)


def place(checked: CheckedMap) -> Mapping[str, Measured]:
    """Whether the layer can show the place, and whether the map is there.

    cells: the size of the place in cells of the layer's grid. inside: the share of the map in the
    place and a cell around it, divided by the share of the picture. own: the same share of the map,
    divided by that of the maps of other places; of the plain mean of the activations without any.
    """
    bank, own = checked.bank, region(checked)
    assert own is not None  # noqa: S101  (see `criteria.measure`)
    grid = bank.activations.shape[1:]
    cell = math.prod(bank.size) / math.prod(grid)
    wide = _widened(own, tuple(grid))
    inside = _share(checked.explanation.heatmap.cpu(), wide)
    others = [_share(heatmap.cpu(), wide) for heatmap in _other_maps(checked, wide)]
    least = max(fmean(others), inside / MOST)
    return {
        "cells": float(own.sum()) / cell,
        "inside": inside / float(wide.mean()),
        "own": inside / least if least > 0 else "All maps are zero there.",
    }


def _region_of(bank: ScoreBank, column: int) -> Tensor | None:
    if bank.masks is not None and bank.masks[column].any():
        return bank.masks[column].float().cpu()
    if bank.boxes is None or len(bank.size) != 2 or not bank.boxes[column].isfinite().all():
        return None
    height, width = bank.size
    found = covered(bank.boxes[column : column + 1].cpu().float(), (height, width))
    return found if float(found.sum()) > 0 else None


def _widened(region: Tensor, grid: tuple[int, ...]) -> Tensor:
    """The pixels of a region and a cell around it, as ones."""
    reach = [max(1, side // cells) for side, cells in zip(region.shape, grid, strict=True)]
    pool = _POOLS[region.ndim - 1]
    padded = [amount for side in reversed(reach) for amount in (side, side)]
    ones = nn.functional.pad((region > 0).float(), padded)
    return pool(ones[None, None], [2 * side + 1 for side in reach], stride=1)[0, 0]


def _share(heatmap: Heatmap, wide: Tensor) -> float:
    total = float(heatmap.sum())
    return float((heatmap * wide).sum()) / total if total > 0 else 0.0


def _other_maps(checked: CheckedMap, wide: Tensor) -> Iterator[Heatmap]:
    """The maps of places that are elsewhere, the largest scores first; the plain mean if none."""
    bank, variant = checked.bank, checked.explanation.variant
    known = range(len(bank.image_scores)) if bank.columns is None else bank.columns.tolist()
    ranked = sorted(known, key=bank.image_scores.tolist().__getitem__, reverse=True)
    elsewhere = [
        column
        for column in ranked
        if column != checked.target and _is_outside(_region_of(bank, column), wide)
    ]
    for column in elsewhere[:OTHER_CLASSES]:
        yield bank.heatmap(column, variant)
    if not elsewhere:
        live = bank.activations[bank.live]
        yield cam.heatmap(live, torch.ones(len(live), device=live.device), bank.size)


def _is_outside(other: Tensor | None, wide: Tensor) -> bool:
    """Whether most of another region is outside of this one."""
    return other is not None and float((other * wide).sum()) < 0.5 * float(other.sum())
