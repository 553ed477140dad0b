"""Select photos of a data set: the paper's filters, a random subset, a shard."""

from __future__ import annotations

import hashlib
import itertools
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated

import numpy as np
import numpy.typing as npt

from scorecam.base.wording import quoted
from scorecam.datasets.photos import Size, upright_size
from scorecam.datasets.sample import Box, Dataset, Sample
from scorecam.errors import DatasetError, PhotoError, SettingError
from scorecam.io.ranges import PHOTOS, SEED, SHARDS, Real

_MANY_BOXES = 500
"""Above this number of boxes, their area is computed strip by strip."""


def select(
    dataset: Dataset,
    *,
    limit: int | None = None,
    seed: int = 0,
    single: bool = False,
    at_most: float | None = None,
    shard: tuple[int, int] | None = None,
) -> Dataset:
    """Some of the photos, sorted by name; the remarks say how many were left out, and why.

    The filters apply first, then `limit`, then `shard`. `classes` is still that of the whole data
    set, so the columns of the classes do not depend on the selection.

    Args:
        limit: use at most this many random photos. The choice depends only on `seed` and the
            photos' names, and a smaller limit gives a subset of a larger one.
        single: only photos with exactly one box of their class.
        at_most: only photos in which the objects of the labelled class cover at most this share;
            0.5 in the paper.
        shard: (i, n) with i from 1 to n: every n-th photo, starting with the i-th.

    A photo with an unreadable annotation or size passes the filters; its `failure` is kept.

    Raises:
        SettingError: an option is invalid.
        DatasetError: no photo passes the filters.
    """
    SEED.check("seed", seed)
    _check(limit, at_most, shard)
    samples = sorted(dataset.samples, key=lambda sample: sample.name)
    remarks = list(dataset.remarks)
    if single or at_most is not None:
        samples, left_out = _filtered(samples, single=single, at_most=at_most)
        remarks += left_out
    if limit is not None and limit < len(samples):
        remarks.append(f"{limit:,} of {len(samples):,} photos chosen at random, seed {seed}.")
        drawn = sorted(samples, key=lambda sample: _random_key(sample, seed))[:limit]
        samples = sorted(drawn, key=lambda sample: sample.name)
    if shard is not None:
        total, samples = len(samples), samples[shard[0] - 1 :: shard[1]]
        remarks.append(f"Shard {shard[0]} of {shard[1]}: {len(samples):,} of {total:,} photos.")
    return replace(dataset, samples=tuple(samples), remarks=tuple(remarks))


def share(boxes: Sequence[Box], size: Size) -> float:
    """The share of the photo inside any of the boxes, in [0, 1]. `size` is (width, height)."""
    if not boxes:
        return 0.0
    width, height = size
    corners = np.asarray(boxes, dtype=np.float64).clip(0, [width, height, width, height])
    if len(corners) > _MANY_BOXES:
        return _covered(corners) / (width * height)
    xs, ys = np.unique(corners[:, 0::2]), np.unique(corners[:, 1::2])
    covered = np.zeros((len(ys), len(xs)), dtype=bool)
    for x1, y1, x2, y2 in corners:  # cell (i, j) extends from ys[i], xs[j] to the next edges
        rows = slice(*np.searchsorted(ys, (y1, y2)))
        covered[rows, slice(*np.searchsorted(xs, (x1, x2)))] = True
    areas = np.diff(ys)[:, None] * np.diff(xs)[None, :]
    return float((areas * covered[:-1, :-1]).sum() / (width * height))


def _covered(corners: Annotated[npt.NDArray[np.float64], "m 4"]) -> float:
    """The area of the union of many boxes, strip by strip; a table of all cells is too large."""
    area = 0.0
    corners = corners[np.argsort(corners[:, 0])]
    edges = np.unique(corners[:, 1::2])
    for low, high in itertools.pairwise(edges):
        across = corners[(corners[:, 1] <= low) & (corners[:, 3] >= high)]
        if len(across):
            reach = np.maximum.accumulate(across[:, 2])
            begin = np.append(across[0, 0], np.maximum(across[1:, 0], reach[:-1]))
            area += float((high - low) * np.maximum(reach - begin, 0).sum())
    return area


def _filtered(
    samples: Sequence[Sample], *, single: bool, at_most: float | None
) -> tuple[list[Sample], list[str]]:
    kept: list[Sample] = []
    reasons = Counter[str]()
    for sample in samples:
        reason, checked = _verdict(sample, single=single, at_most=at_most)
        if reason:
            reasons[reason] += 1
        else:
            kept.append(checked)
    remarks = [
        f"{count:,} of {len(samples):,} photos left out: {reason}."
        for reason, count in sorted(reasons.items())
    ]
    if not kept:
        raise DatasetError(
            f"No photo passes the filters. {' '.join(remarks)}",
            do="Leave the filters out, or use a data set with annotated objects.",
        )
    return kept, remarks


def _verdict(sample: Sample, *, single: bool, at_most: float | None) -> tuple[str, Sample]:
    """Why the photo is left out, or ""; and the sample, with its failure if there is one."""
    if sample.failure is not None:
        return "", sample
    boxes = sample.boxes(sample.label)
    reason = ""
    if sample.label is None:
        reason = "no class"
    elif boxes is None:
        reason = "no annotation of their objects"
    elif not boxes:
        reason = "no box of their class"
    elif single and len(boxes) > 1:
        reason = "more than one box of their class"
    elif at_most is not None:
        try:
            if share(boxes, upright_size(sample.path)) > at_most:
                reason = f"objects of their class cover more than {at_most:.0%}"
        except PhotoError as error:
            return "", replace(sample, failure=error)
    return reason, sample


def _random_key(sample: Sample, seed: int) -> bytes:
    """The key that sorts photos in a random order."""
    text = f"{seed}/{sample.name}".encode("utf-8", "surrogateescape")
    return hashlib.sha256(text).digest()


def _check(limit: int | None, at_most: float | None, shard: tuple[int, int] | None) -> None:
    if limit is not None and not PHOTOS.holds(limit):
        raise SettingError(
            f"limit={quoted(limit)} is invalid.",
            do=f"Give the number of photos, from 1 to {PHOTOS.most:,}.",
        )
    if at_most is not None and not Real(0, 1).holds(at_most):
        raise SettingError(
            f"at_most={quoted(at_most)} is invalid.",
            do="Give a number above 0 and up to 1, such as 0.5.",
        )
    if shard is None:
        return
    if not all(map(SHARDS.holds, shard)) or shard[0] > shard[1]:
        raise SettingError(
            f"There is no shard {quoted(shard[0])} of {quoted(shard[1])}.",
            do=f"Count from 1: 1/4, 2/4, 3/4, 4/4. There are at most {SHARDS.most:,}.",
        )
