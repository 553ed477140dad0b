"""The paper on one page.

Score-CAM (Wang et al., CVPR Workshops 2020) in four steps, each a function below:

    H_k = minmax(up(A_k))                     masks       one mask per activation map
    Z_k = f(X·H_k + fill·(1−H_k))             blend       the question put to the model
    α   = variant(Z)                          Variant     what the answers say of each map
    L   = up(ReLU(Σ_k α_k A_k))               heatmap

Nothing here runs a model. Every function works for any number of image axes: signals, photos,
volumes.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import torch
from torch import Tensor

from scorecam.base.interpolation import extremes, upsample
from scorecam.base.products import exact_products
from scorecam.base.wording import constructor, quoted
from scorecam.errors import SettingError, did_you_mean
from scorecam.io.arguments import choice, flag, tensor
from scorecam.io.ranges import Real
from scorecam.shapes import (
    Activations,
    BatchedScores,
    Columns,
    Grid,
    Heatmap,
    Image,
    Masks,
    Scores,
    Weights,
)

EPSILON = Real(0, 1e30, closed=True)


@dataclass(frozen=True)
class Masking:
    """Everything that changes the questions put to the model.

    Two banks with different maskings hold answers to different questions and never mix.
    The default is the paper's; the other values are what other packages do.

    Args:
        fill: what muted pixels become, in the model's own units: one number, or one per colour.
            Zero is the training mean wherever inputs are normalised to mean zero.
        align_corners: upsample so that corner cells sit on corner pixels (pytorch-grad-cam's
            masks) instead of the half-pixel grid.
        scale: min-max scale "after" upsampling (eq. 8 of the paper) or "before" (torchcam).
        epsilon: added to the range a mask is divided by (1e-8 in pytorch-grad-cam and torchcam).
    """

    fill: float | tuple[float, ...] = 0.0
    align_corners: bool = False
    scale: Literal["after", "before"] = "after"
    epsilon: float = 0.0

    __repr__ = constructor

    def __post_init__(self) -> None:
        object.__setattr__(self, "fill", _numbers(self.fill))
        object.__setattr__(self, "align_corners", flag("align_corners", self.align_corners))
        choice("scale", self.scale, ("after", "before"))
        object.__setattr__(self, "epsilon", EPSILON.check("epsilon", self.epsilon))

    def fill_like(self, image: Image) -> Image:
        """The image with everything muted: `fill` at every pixel, in the image's shape."""
        if isinstance(self.fill, float | int):
            return torch.full_like(image, self.fill)
        if len(self.fill) != len(image):
            raise SettingError(
                f"fill has {len(self.fill)} numbers, but the input has {len(image)} colours."
            )
        colours = image.new_tensor(self.fill).reshape(-1, *[1] * (image.ndim - 1))
        return colours.expand_as(image).clone()


def _numbers(fill: Any) -> float | tuple[float, ...]:
    """A fill as plain floats: one, or one per colour."""
    several = isinstance(fill, Iterable) and not isinstance(fill, str | bytes | bytearray)
    given: Iterable[Any] = fill if several else (fill,)
    try:
        numbers = tuple(map(float, given))
    except Exception:  # noqa: BLE001  (a foreign object's numbers fail in any way)
        numbers = (math.nan,)
    if not numbers or not all(abs(each) < _LARGEST for each in numbers):
        raise SettingError(
            f"fill={quoted(fill)} is not made of finite numbers.",
            do="Give one number, or one per colour.",
        )
    return numbers if several else numbers[0]


_LARGEST = 1e30
"""What pixels may be without the arithmetic of float32 running over."""


# ── masks ────────────────────────────────────────────────────────────────────────────────────


def live(activations: Activations, size: Sequence[int], masking: Masking) -> Annotated[Tensor, "k"]:
    """Which channels have a mask: those that are finite and not flat.

    A flat map has no minimum and maximum to scale between. The authors' code skips it, and so do
    we; being constant it could only lift the whole heatmap.
    """
    ranges = _range(activations)
    varies = (ranges > 0) & ranges.isfinite()
    if any(pixels < cells for pixels, cells in zip(size, activations.shape[1:], strict=True)):
        # An image smaller than the grid samples only some of the cells.
        varies &= _range(upsample(_shifted(activations), size, masking.align_corners)) > 0
    return varies & activations.flatten(1).isfinite().all(dim=1)


def distinct(
    activations: Activations, masking: Masking
) -> tuple[Annotated[Tensor, "d"], Annotated[Tensor, "k"]]:
    """Which channels have a mask of their own: maps that differ in scale alone share one.

    Args:
        activations: `k *g` float32, live channels only (see `live`).

    Returns:
        The first channel of each mask, `d`, and for every channel its place among those, `k`.
    """
    shifted = _shifted(activations).flatten(1)
    if masking.epsilon == 0:  # otherwise a mask depends on its map's scale
        shifted = shifted / shifted.amax(dim=1, keepdim=True).clamp(min=1e-30)
    places: dict[bytes, int] = {}
    inverse: list[int] = []
    first: list[int] = []
    for channel, row in enumerate(shifted.cpu().numpy()):
        place = places.setdefault(row.tobytes(), len(places))
        if place == len(first):
            first.append(channel)
        inverse.append(place)
    as_indices = functools.partial(torch.tensor, dtype=torch.int64, device=activations.device)
    return as_indices(first), as_indices(inverse)


def masks(activations: Activations, size: Sequence[int], masking: Masking) -> Masks:
    """H_k: every map as a soft mask on the image (eq. 8 of the paper).

    Args:
        activations: `k *g` float32, live channels only (see `live`).
        size: the image's axes `*i`.

    Returns:
        `k *i` float32 in [0, 1].
    """
    if masking.scale == "before":
        return upsample(_minmax(activations, masking.epsilon), size, masking.align_corners)
    cells = _shifted(activations)
    if any(pixels < some for pixels, some in zip(size, cells.shape[1:], strict=True)):
        # Cells that no pixel samples may be far out of the pixels' range.
        return _minmax(upsample(cells, size, masking.align_corners), masking.epsilon)
    # Interpolation is linear: scaling the few cells to the pixels' range scales all pixels.
    ends = extremes(cells, size, masking.align_corners)
    scaled_cells = _minmax(cells, masking.epsilon, ends)
    return upsample(scaled_cells, size, masking.align_corners).clamp_(0, 1)


def blend(image: Image, masks: Masks, fill: Image, out: Annotated[Tensor, "k c *i"]) -> None:
    """Write the masked images X·H_k + fill·(1−H_k) into `out` (`k c *i`)."""
    torch.addcmul(fill[None], (image - fill)[None], masks[:, None], out=out)


def _shifted(maps: Tensor) -> Tensor:
    """Every map less its minimum.

    Interpolation and min-max do not mind, and small differences on a large activation survive the
    rounding of float32.
    """
    flattened = maps.flatten(1)
    return (flattened - flattened.amin(dim=1, keepdim=True)).reshape(maps.shape)


def _range(maps: Tensor) -> Tensor:
    flattened = maps.flatten(1)
    return flattened.amax(dim=1) - flattened.amin(dim=1)


def _minmax(maps: Tensor, epsilon: float, of: Tensor | None = None) -> Tensor:
    """Scale each map by the least and the largest number in it, or in `of`, to [0, 1]."""
    flattened = maps.flatten(1)
    ranged = flattened if of is None else of.flatten(1)
    low, high = ranged.amin(dim=1, keepdim=True), ranged.amax(dim=1, keepdim=True)
    return ((flattened - low) / (high - low + epsilon)).reshape(maps.shape)


# ── weights ──────────────────────────────────────────────────────────────────────────────────


Head = Literal["logits", "probabilities", "sigmoid", "value"]
"""What the readout's numbers are."""


def probabilities(scores: BatchedScores, head: Head) -> BatchedScores:
    """p: softmax over the columns for logits, sigmoid for sigmoid, the numbers themselves else."""
    if head == "logits":
        return scores.softmax(dim=1)
    if head == "sigmoid":
        return scores.sigmoid()
    return scores


@dataclass(frozen=True)
class Answers:
    """What the model said of one image under its masks.

    Args:
        scores: Z, `k n` float32: the readout for every masked image.
        fill: Z(fill), `n`: the readout for the image with everything muted.
        head: what those numbers are.
    """

    scores: Scores
    fill: Columns
    head: Head

    __repr__ = constructor


@dataclass(frozen=True)
class Variant:
    """How the answers become one weight per channel, for one target column.

    Args:
        name: what users type.
        formula: α_k as printed in every result.
        weights: (answers, column of the target) → α, `k` float32.
        reads: whether it is made of probabilities p or of the scores z themselves.
        field: whether the map is then held against the evidence field (see `agreeing`).
    """

    name: str
    formula: str
    weights: Callable[[Answers, int], Weights] = dataclasses.field(repr=False)
    reads: Literal["p", "z"] = "z"
    field: bool = False

    __repr__ = constructor

    def formula_for(self, head: Head) -> str:
        """The whole formula, with p and z spelled out for this head."""
        meaning = (MEANING_OF_P if self.reads == "p" else MEANING_OF_Z)[head]
        weighted = f"ReLU(Σ_k α_k A_k), α_k = {self.formula}, {meaning}"
        if not self.field:
            return f"L = {weighted}"
        return (
            f"L = √(S/max S · E/max E) cell by cell, S = {weighted}; E = ReLU(integrated gradients "
            "of the Gaussian process through all answers, from the empty to the whole mask)"
        )


MEANING_OF_Z: dict[Head, str] = {
    "logits": "z = the model's logit",
    "sigmoid": "z = the model's logit",
    "probabilities": "z = p, the model's own probability, not a logit",
    "value": "z = the value itself",
}

MEANING_OF_P: dict[Head, str] = {
    "logits": "p = softmax of z over the columns",
    "sigmoid": "p = sigmoid of z",
    "probabilities": "p = z, the model's own probability",
    "value": "p = z, the value itself",
}


def official(answers: Answers, target: int) -> Weights:
    """α_k = p_t(X·H_k): the authors' released code."""
    return probabilities(answers.scores, answers.head)[:, target]


def algorithm1(answers: Answers, target: int) -> Weights:
    """α = softmax over k of z_t(X·H_k): Algorithm 1 of the paper, read with logits.

    Its baseline term z_t(fill) is the same for every k, so the softmax cancels it.
    """
    return answers.scores[:, target].softmax(dim=0)


def increase(answers: Answers, target: int) -> Weights:
    """α_k = z_t(X·H_k) − z_t(fill), signed: the increase of confidence (Definition 4) itself."""
    return answers.scores[:, target] - answers.fill[target]


def literal(answers: Answers, target: int) -> Weights:
    """α = softmax over k of p_t(X·H_k): the paper's two sentences combined.

    Probabilities differ by at most 1, so no weight exceeds another by more than a factor e: the
    map is close to the plain mean of the activations. Kept to show why.
    """
    return official(answers, target).softmax(dim=0)


def sharp(answers: Answers, target: int) -> Weights:
    """α = softmax over k of 2 z_t(X·H_k): Algorithm 1 at half the temperature."""
    return (2 * answers.scores[:, target]).softmax(dim=0)


VARIANTS: dict[str, Variant] = {
    "official": Variant("official", "p_t(X·H_k)", official, "p"),
    "algorithm1": Variant("algorithm1", "softmax over k of z_t(X·H_k)", algorithm1),
    "increase": Variant("increase", "z_t(X·H_k) − z_t(fill)", increase),
    "literal": Variant("literal", "softmax over k of p_t(X·H_k)", literal, "p"),
    "consensus": Variant("consensus", "softmax over k of 2 z_t(X·H_k)", sharp, field=True),
}


def find_variant(variant: str | Variant) -> Variant:
    """The variant of this name (or the variant itself).

    Raises:
        SettingError: there is none of this name.
    """
    if isinstance(variant, Variant):
        return variant
    if isinstance(variant, str) and variant in VARIANTS:
        return VARIANTS[variant]
    raise SettingError(
        f"There is no variant {quoted(variant)}.",
        likely=did_you_mean(variant, VARIANTS),
        do=f"The variants are {', '.join(VARIANTS)}.",
    )


# ── heatmap ──────────────────────────────────────────────────────────────────────────────────


def heatmap(
    activations: Activations, weights: Weights, size: Sequence[int], field: Grid | None = None
) -> Heatmap:
    """L = up(ReLU(Σ_k α_k A_k)): raw activations, weighted, in the image's pixels.

    ReLU comes before upsampling, as in the paper's Algorithm 1 (the authors' code has it after;
    they differ only where the layer is signed).

    Args:
        activations: `k *g` float32.
        weights: `k` float32.
        size: the image's axes `*i`.
        field: what the map must agree with, `*g`; None for nothing.

    Returns:
        `*i` float32, at least 0, not scaled.
    """
    positive = weighted_sum(activations, weights).relu()
    if field is not None:
        positive = agreeing(positive.flatten(), field.flatten()).reshape(positive.shape)
    return upsample(positive[None], size)[0]


def agreeing(one: Annotated[Tensor, "*b cells"], other: Annotated[Tensor, "*b cells"]) -> Tensor:
    """√(S/max S · E/max E) of the positive parts, `*b cells` in [0, 1]: high only where both are.

    Zero everywhere where one of the two is nowhere positive.
    """
    return (_to_one(one.relu()) * _to_one(other.relu())).sqrt()


def _to_one(maps: Annotated[Tensor, "*b cells"]) -> Tensor:
    """Each map, of no negative numbers, divided by its maximum."""
    top = maps.amax(dim=-1, keepdim=True)
    return maps / torch.where(top > 0, top, 1.0)


def weighted_sum(activations: Activations, weights: Weights) -> Grid:
    """Σ_k α_k A_k on the layer's grid, signed: `*g` float32."""
    with exact_products(activations.device):
        return torch.tensordot(weights, activations, dims=1)


def scaled(heatmap: Heatmap) -> Heatmap:
    """Min-max over the image, to [0, 1]; zeros where the heatmap is constant."""
    if not tensor(heatmap, "The heatmap").numel():
        raise SettingError("The heatmap is empty.", do="Give one with at least one pixel.")
    low, high = heatmap.aminmax()
    if not high > low:
        return torch.zeros_like(heatmap)
    return (heatmap - low) / (high - low)
