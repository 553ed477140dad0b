"""Faithfulness: whether the model's score depends on the pixels that a heatmap marks.

Every metric uses the probability p of the explained column, with Y = p(X) for the image X, and is a
fraction. Pixels are ranked by the heatmap, equal ones in reading order.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from scorecam.metrics.masks import blend, blurred, ranks, shown
from scorecam.metrics.metric import Measured, Metric, Outcome, Seen
from scorecam.shapes import Image

CHUNK = 32
"""The number of changed images in memory at a time."""


@dataclass(frozen=True, repr=False)
class Recognition(Metric):
    """Average Drop, Average Increase and Average Gain: how well the shown pixels keep the score.

    With O = p(X·H + fill·(1 − H)): drop = max(0, Y − O)/Y and increase = [O > Y] (Chattopadhyay et
    al., Grad-CAM++, WACV 2018), gain = max(0, O − Y)/(1 − Y) (Zhang et al., Opti-CAM, 2023). H is
    the heatmap with half of the pixels muted (Wang et al. 2020, section 4.2; soft, as the first
    author answered in issue 15 of the released code).
    """

    name: str = "recognition"
    muted: float = 0.5
    soft: bool = True
    outcomes: tuple[Outcome, ...] = (
        Outcome("average_drop", "lower", "Average Drop"),
        Outcome("average_increase", "higher", "Average Increase"),
        Outcome("average_gain", "higher", "Average Gain"),
    )
    source: str = (
        "Wang et al. 2020, section 4.2: half of the pixels muted, the others soft; ties in reading "
        "order; muted pixels show the run's fill"
    )

    def measure(self, seen: Seen) -> Measured:
        mask = shown(seen.heatmap, self.muted, soft=self.soft)
        left = float(seen.ask(blend(seen.image, mask[None], seen.canvas))[0])
        return _recognised(self.outcomes, seen.probability, left)


def _recognised(outcomes: tuple[Outcome, ...], whole: float, left: float) -> Measured:
    """The drop, increase and gain of one image."""
    drop, increase, gain = (outcome.name for outcome in outcomes)
    if why := why_undefined(whole, left):
        return Measured(undefined=dict.fromkeys((drop, increase, gain), why))
    values = {increase: float(left > whole)}
    undefined: dict[str, str] = {}
    if whole > 0:
        values[drop] = max(0.0, whole - left) / whole
    else:
        undefined[drop] = "p(X) is 0, so it cannot drop."
    if whole < 1:
        values[gain] = max(0.0, left - whole) / (1 - whole)
    else:
        undefined[gain] = "p(X) is 1, so it cannot rise."
    return Measured(values, undefined)


def why_undefined(*scores: float) -> str:
    """The reason why these are not probabilities; "" if they are."""
    if not all(map(math.isfinite, scores)):
        return "The model's score is not finite."
    if not all(-1e-3 <= score <= 1 + 1e-3 for score in scores):
        return "The model's scores are values, not probabilities."
    return ""


@dataclass(frozen=True, repr=False)
class Deletion(Metric):
    """The area under the curve of p while pixels are deleted, the most important first.

    Steps of 1 % of the pixels, rounded up; the last may be shorter. Deleted pixels show the fill.
    The area is over the share of pixels, by the trapezoidal rule. Petsiuk et al., RISE, BMVC 2018;
    the steps are those of Wang et al. 2020, section 4.2.
    """

    name: str = "deletion"
    steps: int = 100
    outcomes: tuple[Outcome, ...] = (Outcome("deletion", "lower", "Deletion"),)
    source: str = "Petsiuk et al. 2018: 1 % steps (Wang et al. 2020), to the fill, ties by reading"

    def measure(self, seen: Seen) -> Measured:
        shares, between = _between(seen, self.steps, seen.canvas, seen.image)
        curve = [seen.probability, *between, float(seen.ask(seen.canvas[None])[0])]
        return _area_under(self.outcomes[0].name, curve, shares)


@dataclass(frozen=True, repr=False)
class Insertion(Metric):
    """The area under the curve of p while pixels are inserted, the most important first.

    Steps and area as for `Deletion`. Wang et al. 2020, section 4.2, start from the empty image;
    RISE itself starts from a blurred image (here a Gaussian of 11 × 11 pixels, σ = 5), which gives
    higher values. The two cannot be compared.
    """

    name: str = "insertion"
    steps: int = 100
    start: Literal["empty", "blurred"] = "empty"
    outcomes: tuple[Outcome, ...] = (Outcome("insertion", "higher", "Insertion"),)
    source: str = "Wang et al. 2020, section 4.2: 1 % steps from the fill, ties by reading"

    def measure(self, seen: Seen) -> Measured:
        start = seen.canvas if self.start == "empty" else blurred(seen.image)
        shares, between = _between(seen, self.steps, seen.image, start)
        curve = [float(seen.ask(start[None])[0]), *between, seen.probability]
        return _area_under(self.outcomes[0].name, curve, shares)


def _area_under(name: str, curve: list[float], shares: Tensor) -> Measured:
    area = torch.trapezoid(torch.tensor(curve, dtype=torch.float64), shares)
    return Measured({name: float(area)}, curves={name: curve})


def _between(seen: Seen, steps: int, first: Image, then: Image) -> tuple[Tensor, list[float]]:
    """The p at each inner step: the most important pixels are from `first`, the others from `then`.

    Returns:
        The share of pixels at every step, the ends included; and p at the inner steps.
    """
    places = ranks(seen.heatmap)
    pixels = places.numel()
    counts = torch.tensor([*range(0, pixels, math.ceil(pixels / steps)), pixels])
    scores: list[float] = []
    for chunk in counts[1:-1].to(places.device).split(CHUNK):
        counts_of_chunk = chunk.reshape(-1, *[1] * (places.ndim + 1))
        images = torch.where(places[None, None] < counts_of_chunk, first[None], then[None])
        scores += seen.ask(images).tolist()
    return counts.double() / pixels, scores


METRICS: tuple[Metric, ...] = (
    Recognition(),
    Recognition(
        "recognition-binary",
        soft=False,
        outcomes=(
            Outcome("average_drop_binary", "lower", "Average Drop, binary mask"),
            Outcome("average_increase_binary", "higher", "Average Increase, binary mask"),
            Outcome("average_gain_binary", "higher", "Average Gain, binary mask"),
        ),
        source="as recognition, but the pixels that are left are shown whole",
    ),
    Deletion(),
    Insertion(),
    Insertion(
        "insertion-blurred",
        start="blurred",
        outcomes=(Outcome("insertion_blurred", "higher", "Insertion, from a blurred image"),),
        source="Petsiuk et al. 2018: 1 % steps from the image blurred by 11 × 11, σ = 5",
    ),
)
"""The metrics of this file."""
