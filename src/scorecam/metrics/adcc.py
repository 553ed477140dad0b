"""ADCC: Average Drop, Coherency and Complexity in one number."""

from __future__ import annotations

import math
from dataclasses import dataclass

from scorecam.metrics.faithfulness import why_undefined
from scorecam.metrics.masks import blend, soft_mask
from scorecam.metrics.metric import Measured, Metric, Outcome, Seen
from scorecam.metrics.similarity import pearson


@dataclass(frozen=True, repr=False)
class ADCC(Metric):
    """Average Drop, Coherency and Complexity, and their harmonic mean.

    With the soft mask H of the whole heatmap, coherency = (Pearson(L(X), L(X·H)) + 1)/2, complexity
    = mean of H, ADCC = 3/(1/coherency + 1/(1 − complexity) + 1/(1 − drop)). Poppi et al.,
    Revisiting the Evaluation of Class Activation Mapping, CVPR workshops 2021. Costs one more
    explanation per heatmap.
    """

    name: str = "adcc"
    outcomes: tuple[Outcome, ...] = (
        Outcome("adcc", "higher", "ADCC"),
        Outcome("coherency", "higher", "Coherency"),
        Outcome("complexity", "lower", "Complexity"),
        Outcome("drop_soft", "lower", "Average Drop, nothing muted"),
    )
    source: str = "Poppi et al. 2021: the whole soft mask, each image's own harmonic mean"

    def measure(self, seen: Seen) -> Measured:
        mask = soft_mask(seen.heatmap)
        values = {"complexity": float(mask.mean())}
        undefined: dict[str, str] = {}
        masked = blend(seen.image, mask[None], seen.canvas)
        whole, left = seen.probability, float(seen.ask(masked)[0])
        if why := why_undefined(whole, left):
            undefined["drop_soft"] = why
        elif whole > 0:
            values["drop_soft"] = max(0.0, whole - left) / whole
        else:
            undefined["drop_soft"] = "p(X) is 0, so it cannot drop."
        if seen.explain is None:
            undefined["coherency"] = "The method cannot explain the masked image."
        else:
            agreement = pearson(seen.heatmap, seen.explain(masked[0]))
            if math.isnan(agreement):
                undefined["coherency"] = "A heatmap is constant, so the correlation is undefined."
            else:
                values["coherency"] = (agreement + 1) / 2
        if undefined:
            undefined["adcc"] = "One of its parts is undefined."
        else:
            parts = values["coherency"], 1 - values["complexity"], 1 - values["drop_soft"]
            values["adcc"] = 3 / sum(1 / part for part in parts) if min(parts) > 0 else 0.0
        return Measured(values, undefined)


METRICS: tuple[Metric, ...] = (ADCC(),)
"""The metrics of this file."""
