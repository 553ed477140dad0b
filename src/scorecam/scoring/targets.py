"""The targets of several images."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import cast

import numpy as np
from torch import Tensor

from scorecam.errors import TargetError
from scorecam.model.model import TargetSpec

TOGETHER = 16
"""Images whose masks share batches. More would not fill batches better, and need more memory."""


def batches_of(targets: Sequence[TargetSpec]) -> Iterator[list[int]]:
    """The images that are explained together, by number: those with the same target function."""
    readouts = [target if callable(target) else None for target in targets]
    for readout in {id(readout): readout for readout in readouts}.values():
        same = [i for i, other in enumerate(readouts) if other is readout]
        for start in range(0, len(same), TOGETHER):
            yield same[start : start + TOGETHER]


def one_per_image(target: TargetSpec | Sequence[TargetSpec], images: int) -> list[TargetSpec]:
    """A target for each image.

    Args:
        target: one for all images, or a list with one per image.

    Raises:
        TargetError: the list has another length.
    """
    many = not isinstance(target, str) and isinstance(target, Sequence | Tensor | np.ndarray)
    if not many or getattr(target, "ndim", 1) == 0:
        return [cast(TargetSpec, target)] * images
    targets = list(cast(Sequence[TargetSpec], target))
    if len(targets) != images:
        raise TargetError(
            f"{len(targets)} targets were given for {images} images.",
            do="Give one target for all images, or a list with one per image.",
        )
    return targets
