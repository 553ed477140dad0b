"""The paper on one page.

Score-CAM (Wang et al., CVPR Workshops 2020) in four steps, each a function below:

    H_k = minmax(up(A_k))                     masks       one mask per activation map
    Z_k = f(X·H_k + fill·(1−H_k))             blend       the model scores each masked image
    α   = variant(Z)                          Variant     scores become weights
    L   = up(ReLU(Σ_k α_k A_k))               heatmap     the weighted sum of the maps

Nothing here runs a model. Every function takes any number of image axes: signals, photos, volumes.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from torch import Tensor

from scorecam.base.blocks import blocks, equal_rows
from scorecam.base.exact_products import exact_products
from scorecam.base.interpolation import extremes, upsample
from scorecam.base.wording import constructor, quoted
from scorecam.errors import SettingError, did_you_mean
from scorecam.io.arguments import choice, fill_numbers, flag, tensor
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
    """How activations become masks, and masks become masked images.

    Two maskings make different masked images, so their scores never share a bank. The default is
    the paper's; the other values are those of other packages.

    Args:
        fill: the value of hidden pixels, in the model's own units: one number, or one per colour.
            Zero is the training mean if inputs are normalised to mean zero.
        align_corners: upsample so that corner cells are at corner pixels (as pytorch-grad-cam
            does) instead of the half-pixel grid.
        scale: min-max scale "after" upsampling (eq. 8 of the paper) or "before" (torchcam).
        epsilon: added to the range that a mask is divided by (1e-8 in pytorch-grad-cam and
            torchcam).
    """

    fill: float | tuple[float, ...] = 0.0
    align_corners: bool = False
    scale: Literal["after", "before"] = "after"
    epsilon: float = 0.0

    __repr__ = constructor

    def __post_init__(self) -> None:
        object.__setattr__(self, "fill", fill_numbers(self.fill))
        object.__setattr__(self, "align_corners", flag("align_corners", self.align_corners))
        choice("scale", self.scale, ("after", "before"))
        object.__setattr__(self, "epsilon", EPSILON.check("epsilon", self.epsilon))

    def fill_like(self, image: Image) -> Image:
        """The empty image: `fill` at every pixel, in the image's shape."""
        return self.hidden(image).clone(memory_format=torch.contiguous_format)

    def hidden(self, image: Image) -> Image:
        """As `fill_like`, but a view of one number, or of one per colour; it takes no memory."""
        if isinstance(self.fill, tuple) and len(self.fill) != len(image):
            raise SettingError(
                f"fill has {len(self.fill)} numbers, but the input has {len(image)} colours."
            )
        colours = image.new_tensor(self.fill).reshape(-1, *[1] * (image.ndim - 1))
        return colours.expand_as(image)


# ── masks ────────────────────────────────────────────────────────────────────────────────────


def live(activations: Activations, size: Sequence[int], masking: Masking) -> Annotated[Tensor, "k"]:
    """Which channels have a mask: those that are finite and not flat.

    A flat map has no range to scale by. The authors' code skips it too. As a constant, it could
    only raise the whole heatmap.
    """
    return torch.cat([_live(block, size, masking) for block in blocks(activations)])


def _live(activations: Activations, size: Sequence[int], masking: Masking) -> Tensor:
    ranges = _range(activations)
    varies = (ranges > 0) & ranges.isfinite()
    if any(pixels < cells for pixels, cells in zip(size, activations.shape[1:], strict=True)):
        # An image smaller than the grid samples only some of the cells.
        varies &= _range(upsample(_shifted(activations), size, masking.align_corners)) > 0
    return varies & activations.flatten(1).isfinite().all(dim=1)


def distinct(
    activations: Activations, masking: Masking
) -> tuple[Annotated[Tensor, "d"], Annotated[Tensor, "k"]]:
    """The distinct masks: maps that differ only in scale and offset have the same mask.

    Args:
        activations: `k *g` float32, live channels only (see `live`).

    Returns:
        The first channel of each mask, `d`, and the mask of every channel, `k`.
    """
    first, inverse = equal_rows(_comparable(block, masking) for block in blocks(activations))
    as_indices = functools.partial(torch.tensor, dtype=torch.int64, device=activations.device)
    return as_indices(first), as_indices(inverse)


def _comparable(activations: Activations, masking: Masking) -> Annotated[Tensor, "k cells"]:
    """What the mask of each map depends on."""
    shifted = _shifted(activations).flatten(1)
    if masking.epsilon == 0:  # otherwise a mask depends on its map's scale
        shifted = shifted / shifted.amax(dim=1, keepdim=True).clamp(min=1e-30)
    return shifted


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
        # Cells that no pixel samples may be far outside the range of the pixels.
        return _minmax(upsample(cells, size, masking.align_corners), masking.epsilon)
    # Interpolation is linear: scaling the few cells to the pixels' range scales all pixels.
    ends = extremes(cells, size, masking.align_corners)
    scaled_cells = _minmax(cells, masking.epsilon, ends)
    return upsample(scaled_cells, size, masking.align_corners).clamp_(0, 1)


def blend(image: Image, masks: Masks, fill: Image, out: Annotated[Tensor, "k c *i"]) -> None:
    """Write the masked images X·H_k + fill·(1−H_k) into `out` (`k c *i`), colour by colour."""
    for colour, hidden in enumerate(fill):
        difference = image[colour] - hidden
        torch.addcmul(hidden[None], difference[None], masks, out=out[:, colour])


def _shifted(maps: Tensor) -> Tensor:
    """Every map minus its minimum: the same mask, and less is lost to float32 rounding."""
    flattened = maps.flatten(1)
    return (flattened - flattened.amin(dim=1, keepdim=True)).reshape(maps.shape)


def _range(maps: Tensor) -> Tensor:
    flattened = maps.flatten(1)
    return flattened.amax(dim=1) - flattened.amin(dim=1)


def _minmax(maps: Tensor, epsilon: float, of: Tensor | None = None) -> Tensor:
    """Scale each map to [0, 1] by its own range, or by the range of `of`."""
    flattened = maps.flatten(1)
    ranged = flattened if of is None else of.flatten(1)
    low, high = ranged.amin(dim=1, keepdim=True), ranged.amax(dim=1, keepdim=True)
    return ((flattened - low) / (high - low + epsilon)).reshape(maps.shape)


# ── weights ──────────────────────────────────────────────────────────────────────────────────


Head = Literal["logits", "probabilities", "sigmoid", "value"]
"""The kind of the scores."""


def probabilities(scores: BatchedScores, head: Head) -> BatchedScores:
    """p: softmax over the columns for logits, sigmoid for sigmoid, otherwise the scores."""
    if head == "logits":
        return scores.softmax(dim=1)
    if head == "sigmoid":
        return scores.sigmoid()
    return scores


@dataclass(frozen=True)
class Answers:
    """The scores of one image under its masks.

    Args:
        scores: Z, `k n` float32: the readout for every masked image.
        fill: Z(fill), `n`: the readout for the empty image.
        head: the kind of the scores.
    """

    scores: Scores
    fill: Columns
    head: Head

    __repr__ = constructor


@dataclass(frozen=True)
class Variant:
    """How scores become one weight per channel, for one target column.

    Args:
        name: as users write it.
        formula: α_k as printed in every result.
        weights: (scores, column of the target) → α, `k` float32.
        reads: whether the formula uses probabilities p or the scores z.
        field: whether the map is combined with the evidence field (see `agreeing`).
        on_pages: whether HTML pages show it by default.
    """

    name: str
    formula: str
    weights: Callable[[Answers, int], Weights] = dataclasses.field(repr=False)
    reads: Literal["p", "z"] = "z"
    field: bool = False
    on_pages: bool = True

    __repr__ = constructor

    def formula_for(self, head: Head) -> str:
        """The whole formula, with the meaning of p or z for this head."""
        meaning = (MEANING_OF_P if self.reads == "p" else MEANING_OF_Z)[head]
        weighted = f"ReLU(Σ_k α_k A_k), α_k = {self.formula}, {meaning}"
        if not self.field:
            return f"L = {weighted}"
        return (
            f"L = √(S/max S · E/max E) cell by cell, S = {weighted}; E = ReLU(integrated gradients "
            "of the Gaussian process through all answers, from the empty to the whole mask)"
        )


ROUNDING = 1e-6  # scores that differ by less, relative to the largest, differ only by rounding

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
    """α_k = z_t(X·H_k) − z_t(fill), signed: the increase of confidence (Definition 4)."""
    return answers.scores[:, target] - answers.fill[target]


def centred(answers: Answers, target: int) -> Weights:
    """α_k = s_k − mean over k of s_k: `official` without its mean weight (docs/centred.md).

    s is the probability p_t(X·H_k), or the score itself for values. Differences of nearly equal
    numbers need float64, and scores that differ only by rounding get no weight.
    """
    s = probabilities(answers.scores.double(), answers.head)[:, target]
    weights = s - s.mean()
    differ = weights.abs().max() > ROUNDING * s.abs().max()
    return (weights * differ).to(answers.scores.dtype)


def literal(answers: Answers, target: int) -> Weights:
    """α = softmax over k of p_t(X·H_k): two sentences of the paper combined; nearly uniform."""
    return official(answers, target).softmax(dim=0)


def sharp(answers: Answers, target: int) -> Weights:
    """α = softmax over k of 2 z_t(X·H_k): Algorithm 1 at half the temperature."""
    return (2 * answers.scores[:, target]).softmax(dim=0)


VARIANTS: dict[str, Variant] = {
    "official": Variant("official", "p_t(X·H_k)", official, "p"),
    "algorithm1": Variant("algorithm1", "softmax over k of z_t(X·H_k)", algorithm1),
    "increase": Variant("increase", "z_t(X·H_k) − z_t(fill)", increase),
    "centred": Variant("centred", "p_t(X·H_k) − mean over k of p_t(X·H_k)", centred, "p"),
    "literal": Variant("literal", "softmax over k of p_t(X·H_k)", literal, "p", on_pages=False),
    "consensus": Variant("consensus", "softmax over k of 2 z_t(X·H_k)", sharp, field=True),
}
"""Every variant by name. To add one, add an entry here, and its name to the help in `cli.known`."""


def find_variant(variant: str | Variant) -> Variant:
    """The variant with this name, or the variant itself.

    Raises:
        SettingError: there is no such variant.
    """
    if isinstance(variant, Variant):
        return variant
    if isinstance(variant, str) and variant in VARIANTS:
        return VARIANTS[variant]
    raise SettingError(
        f"There is no variant {quoted(variant)}.",
        likely=did_you_mean(variant, ("auto", *VARIANTS)),
        do=f"The variants are {', '.join(VARIANTS)}, and auto, which chooses one of them.",
    )


# ── heatmap ──────────────────────────────────────────────────────────────────────────────────


def heatmap(
    activations: Activations, weights: Weights, size: Sequence[int], field: Grid | None = None
) -> Heatmap:
    """L = up(ReLU(Σ_k α_k A_k)): the weighted sum of the activations, in the image's pixels.

    ReLU comes before upsampling, as in the paper's Algorithm 1. In the authors' code it comes
    after; the results differ only if activations are signed.

    Args:
        activations: `k *g` float32.
        weights: `k` float32.
        size: the image's axes `*i`.
        field: the evidence field to combine the map with, `*g`; None to use no field.

    Returns:
        `*i` float32, at least 0, not scaled.
    """
    positive = weighted_sum(activations, weights).relu()
    if field is not None:
        positive = agreeing(positive.flatten(), field.flatten()).reshape(positive.shape)
    return upsample(positive[None], size)[0]


def agreeing(one: Annotated[Tensor, "*b cells"], other: Annotated[Tensor, "*b cells"]) -> Tensor:
    """√(S/max S · E/max E) of the positive parts, `*b cells` in [0, 1]: high where both are high.

    Zero everywhere if one of the two has no positive value.
    """
    return (_to_one(one.relu()) * _to_one(other.relu())).sqrt()


def _to_one(maps: Annotated[Tensor, "*b cells"]) -> Tensor:
    """Each map divided by its maximum. The maps are not negative."""
    top = maps.amax(dim=-1, keepdim=True)
    return maps / torch.where(top > 0, top, 1.0)


def weighted_sum(activations: Activations, weights: Weights) -> Grid:
    """Σ_k α_k A_k on the layer's grid, signed: `*g` float32."""
    with exact_products(activations.device):
        return torch.tensordot(weights, activations, dims=1)


def scaled(heatmap: Heatmap) -> Heatmap:
    """The heatmap min-max scaled to [0, 1]; zeros if it is constant."""
    if not tensor(heatmap, "The heatmap").numel():
        raise SettingError("The heatmap is empty.", do="Give one with at least one pixel.")
    low, high = heatmap.aminmax()
    if not high > low:
        return torch.zeros_like(heatmap)
    return (heatmap - low) / (high - low)
