"""How well a heatmap tells what the model's answer hangs on, by asking the model.

Everything is measured on the probability p of the explained column, Y = p(X), and is a fraction.
Pixels are ranked by the heatmap; equal ones in reading order, so that every rank is one pixel's.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from torch import Tensor

from scorecam.metrics.metric import Measured, Metric, Outcome, Seen
from scorecam.shapes import Heatmap, Image, Images, Masks

CHUNK = 32
"""Changed images that exist at a time."""

Ranks = Annotated[Tensor, "*i"]
"""The place of each pixel, int64, 0 for the most important."""


def soft_mask(heatmap: Heatmap) -> Heatmap:
    """The heatmap as a mask: min-max scaled to [0, 1].

    A map that is the same everywhere hides nothing: ones; a map of zeros shows nothing: zeros.
    """
    low, high = heatmap.aminmax()
    if high > low:
        return (heatmap - low) / (high - low)
    return (heatmap > 0).to(heatmap.dtype)


def ranks(heatmap: Heatmap) -> Ranks:
    """Each pixel's place when they are sorted by importance; equal ones in reading order."""
    order = heatmap.flatten().argsort(descending=True, stable=True)
    places = torch.empty_like(order)
    places[order] = torch.arange(len(order), device=order.device)
    return places.reshape(heatmap.shape)


def shown(heatmap: Heatmap, muted: float = 0.5, *, soft: bool = True) -> Heatmap:
    """What of the image is left: the mask of the more important pixels.

    Args:
        heatmap: `*i`, raw.
        muted: the share of pixels that go, [0, 1]; as many whole pixels as that rounds to.
        soft: the others keep the heatmap's scaled value; else 1.

    Returns:
        `*i` in [0, 1].
    """
    kept = heatmap.numel() - round(muted * heatmap.numel())
    keep = (ranks(heatmap) < kept).to(heatmap.dtype)
    return soft_mask(heatmap) * keep if soft else keep


def blend(image: Image, mask: Masks, canvas: Image) -> Images:
    """X·H + canvas·(1 − H) for every mask: `b *i` to `b c *i`."""
    return torch.lerp(canvas[None], image[None], mask[:, None].to(image.dtype))


@dataclass(frozen=True, repr=False)
class Recognition(Metric):
    """Average Drop, Average Increase and Average Gain: is the class still in what is shown.

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
    """Drop, increase and gain of one image."""
    drop, increase, gain = (outcome.name for outcome in outcomes)
    if why := _no_probability(whole, left):
        return Measured(undefined=dict.fromkeys((drop, increase, gain), why))
    values = {increase: float(left > whole)}
    undefined: dict[str, str] = {}
    if whole > 0:
        values[drop] = max(0.0, whole - left) / whole
    else:
        undefined[drop] = "p(X) is 0: nothing can drop."
    if whole < 1:
        values[gain] = max(0.0, left - whole) / (1 - whole)
    else:
        undefined[gain] = "p(X) is 1: nothing can be gained."
    return Measured(values, undefined)


def _no_probability(*answers: float) -> str:
    """Why these cannot be compared as probabilities; empty where they can."""
    if not all(map(math.isfinite, answers)):
        return "The model's answer is not finite."
    if not all(-1e-3 <= answer <= 1 + 1e-3 for answer in answers):
        return "The model's answers are values, not probabilities."
    return ""


@dataclass(frozen=True, repr=False)
class Deletion(Metric):
    """How p falls as pixels go, the most important first: the area under the curve.

    Steps of 1 % of the pixels, rounded up; the last may be shorter. What is gone shows the fill.
    The area is taken over the share of pixels, by trapezoids. Petsiuk et al., RISE, BMVC 2018; the
    steps are those of Wang et al. 2020, section 4.2.
    """

    name: str = "deletion"
    steps: int = 100
    outcomes: tuple[Outcome, ...] = (Outcome("deletion", "lower", "Deletion"),)
    source: str = "Petsiuk et al. 2018: 1 % steps (Wang et al. 2020), to the fill, ties by reading"

    def measure(self, seen: Seen) -> Measured:
        shares, between = _between(seen, self.steps, seen.canvas, seen.image)
        curve = [seen.probability, *between, float(seen.ask(seen.canvas[None])[0])]
        return _under(self.outcomes[0].name, curve, shares)


@dataclass(frozen=True, repr=False)
class Insertion(Metric):
    """How p rises as pixels come, the most important first: the area under the curve.

    Steps and area as for `Deletion`. Wang et al. 2020, section 4.2, start from the empty image;
    RISE itself starts from a blurred one (here a Gaussian of 11 × 11 pixels, σ = 5), which gives
    higher values: never compare across.
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
        return _under(self.outcomes[0].name, curve, shares)


def _under(name: str, curve: list[float], shares: Tensor) -> Measured:
    area = torch.trapezoid(torch.tensor(curve, dtype=torch.float64), shares)
    return Measured({name: float(area)}, curves={name: curve})


def _between(seen: Seen, steps: int, first: Image, then: Image) -> tuple[Tensor, list[float]]:
    """P where the most important pixels are `first`'s and the others `then`'s, at each inner step.

    Returns:
        The share of pixels at every step, the ends included; and p at the steps between them.
    """
    places = ranks(seen.heatmap)
    pixels = places.numel()
    counts = torch.tensor([*range(0, pixels, math.ceil(pixels / steps)), pixels])
    found: list[float] = []
    for part in counts[1:-1].to(places.device).split(CHUNK):
        most = part.reshape(-1, *[1] * (places.ndim + 1))
        images = torch.where(places[None, None] < most, first[None], then[None])
        found += seen.ask(images).tolist()
    return counts.double() / pixels, found


def blurred(image: Image, size: int = 11, sigma: float = 5.0) -> Image:
    """The image, `c h w`, under a Gaussian of so many pixels; zeros beyond its edges."""
    distance = torch.arange(size, dtype=image.dtype, device=image.device) - size // 2
    bell = (-(distance**2) / (2 * sigma**2)).exp()
    kernel = torch.outer(bell, bell) / bell.sum() ** 2
    kernels = kernel.expand(len(image), 1, size, size)
    return torch.conv2d(image[None], kernels, padding=size // 2, groups=len(image))[0]


@dataclass(frozen=True, repr=False)
class ADCC(Metric):
    """Average Drop, Coherency and Complexity, and their harmonic mean.

    With the soft mask H of the whole heatmap: coherency = (Pearson(L(X), L(X·H)) + 1)/2, complexity
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
        if why := _no_probability(whole, left):
            undefined["drop_soft"] = why
        elif whole > 0:
            values["drop_soft"] = max(0.0, whole - left) / whole
        else:
            undefined["drop_soft"] = "p(X) is 0: nothing can drop."
        if seen.explain is None:
            undefined["coherency"] = "The method is not at hand to explain the masked image."
        else:
            agreement = pearson(seen.heatmap, seen.explain(masked[0]))
            if math.isnan(agreement):
                undefined["coherency"] = "A heatmap is the same everywhere: it has no correlation."
            else:
                values["coherency"] = (agreement + 1) / 2
        if undefined:
            undefined["adcc"] = "One of its parts has no value."
        else:
            parts = values["coherency"], 1 - values["complexity"], 1 - values["drop_soft"]
            values["adcc"] = 3 / sum(1 / part for part in parts) if min(parts) > 0 else 0.0
        return Measured(values, undefined)


def pearson(one: Heatmap, other: Heatmap) -> float:
    """The correlation of two maps' pixels; NaN where one is the same everywhere."""
    pair = torch.stack([one.flatten(), other.flatten().to(one)]).double()
    centred = pair - pair.mean(dim=1, keepdim=True)
    lengths = centred.norm(dim=1)
    if float(lengths.min()) <= 1e-12 * float(pair.abs().max()):
        return math.nan
    return float(((centred[0] @ centred[1]) / lengths.prod()).clamp(-1, 1))
