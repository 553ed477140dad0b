"""How much of a heatmap is the same for every class."""

from __future__ import annotations

import math

from scorecam import cam
from scorecam.bank.bank import ScoreBank
from scorecam.cam import Variant


def class_free(
    bank: ScoreBank, target: int | str | None = None, variant: str | Variant = "auto"
) -> float | None:
    """The share of the heatmap's variance that the plain mean of the activations explains.

    r², where r is the correlation of the two maps on the layer's grid, or 0 if r is negative. The
    plain mean is Score-CAM with equal weights, the same for every class. It may well show the
    object, if the photo has only one: a large share means that the weights add little to it.

    Returns:
        In [0, 1]; None if one of the two maps is constant.
    """
    from scorecam.metrics.similarity import pearson  # not with `import scorecam`: it takes time

    shown = bank.heatmap(target, variant, size=bank.activations.shape[1:])
    mean = bank.activations[bank.live].sum(dim=0).relu()
    r = pearson(cam.scaled(shown), cam.scaled(mean))  # weights may be 1e-12 and less
    return None if math.isnan(r) else max(r, 0.0) ** 2
