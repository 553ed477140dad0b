"""What the baselines stand on: the score that is differentiated, checks, and the layer's grid."""

from __future__ import annotations

import contextlib
from collections.abc import Generator
from typing import Annotated
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from scorecam.base.wording import quoted
from scorecam.cam import Head, probabilities
from scorecam.errors import LayerError, ModelError, SettingError, TargetError
from scorecam.methods.method import Case
from scorecam.model.columns import two_sided
from scorecam.model.model import Model, WhiteBox
from scorecam.shapes import Activations, Columns, Heatmap, Image, Images

COMMON_SIDE = 224
"""Pixels along the shorter side of the images for which lengths in pixels were published."""

WITHOUT_GRADIENTS = "scorecam, rise, occlusion"


class Column(nn.Module):
    """A model that answers images, `b c *i`, with one number each: what is differentiated.

    That is the readout's column of the target: a logit where the head has logits, the model's
    number itself elsewhere. What a yes-or-no model says for no is what it says for yes, turned
    around, as in Score-CAM.

    Args:
        readable: images to the readout, `b n`.
        target: the column.
        head: what the readout's numbers are.
        dtype: what the network computes in.
        probability: whether the answer is the target's probability instead.
    """

    def __init__(
        self,
        readable: nn.Module,
        target: int,
        head: Head,
        dtype: torch.dtype,
        *,
        probability: bool = False,
    ) -> None:
        super().__init__()
        self.readable = readable
        self.target = target
        self.head: Head = head
        self.dtype = dtype
        self.probability = probability

    def forward(self, images: Images) -> Columns:
        # A clone, for networks that write into their input: a leaf may not be written to.
        said = two_sided(self.readable(images.to(self.dtype).clone()), self.head)
        if self.target >= said.shape[1]:
            raise TargetError(
                f"There is no class {self.target}: the model has {said.shape[1]}, numbered from 0."
            )
        return (probabilities(said, self.head) if self.probability else said)[:, self.target]


@contextlib.contextmanager
def differentiated(
    case: Case, method: str, *, probability: bool = False
) -> Generator[tuple[Column, nn.Module, Images]]:
    """The case ready for gradients: its column, the user's network, and the image.

    Args:
        case: what is explained.
        method: whose gradients they are, for errors.
        probability: whether the column's probability is wanted instead of the readout.

    Yields:
        The column as a module, the network inside it, and the image, `1 c *i`: a leaf of its own
        that wants a gradient.

    Raises:
        ModelError: the model cannot be differentiated.
    """
    model = case.model
    if not isinstance(model, WhiteBox):
        raise ModelError(
            f"{method} needs gradients, and {model.spec} cannot be differentiated.",
            likely="It is known by its answers alone.",
            do=f"Use methods that need none: {WITHOUT_GRADIENTS}.",
        )
    head = _head(case, needed=probability)
    dtype = getattr(torch, model.precision)
    with model.differentiable() as readable:
        network = readable.get_submodule("network")
        column = Column(readable, case.target, head, dtype, probability=probability)
        image = case.image.detach().to(model.device, torch.float32, copy=True)
        yield column, network, image[None].requires_grad_()


def _head(case: Case, *, needed: bool) -> Head:
    """What the readout's numbers are; asked for only where the column depends on it."""
    declared = case.model.head
    if declared != "auto":
        single = declared == "logits" and _single(case)
        return "sigmoid" if single else declared
    return case.scorer.head if needed or _single(case) else "logits"


def _single(case: Case) -> bool:
    """Whether the readout has but one column: two names may be those of its two sides."""
    names = case.model.names
    if names is not None and len(names) > 2:
        return False
    return case.model.scores(case.image[None]).shape[1] == 1


def finished(heatmap: Annotated[Tensor, "*i"], case: Case, method: str) -> Heatmap:
    """A method's map as callers get it: float32, an ordinary tensor, where the image is.

    Raises:
        ModelError: it holds numbers that are not finite.
    """
    with torch.inference_mode(mode=False):
        map_ = heatmap.detach().to(case.image.device, torch.float32, copy=True)
    if not bool(map_.isfinite().all()):
        raise not_finite(method)
    return map_.contiguous()


def not_finite(method: str) -> ModelError:
    """The error for a map that is made of infinities, or of what is no number."""
    return ModelError(
        f"{method} found numbers that are not finite.",
        likely="The model's scores, or their gradient, are not finite for this image.",
        do="Check the model's output for it.",
    )


def photo_only(image: Image, method: str) -> None:
    """Refuse an image that is no photo.

    Raises:
        SettingError: it has another number of axes than two.
    """
    if image.ndim != 3:
        raise SettingError(
            f"{method} is for photos, and the input has {image.ndim - 1} axes instead of 2.",
            do="Leave it out for signals and volumes.",
        )


def pixels(published: float, image: Image) -> float:
    """A length that was published for images of 224 pixels, in pixels of this image."""
    return published * min(image.shape[1:]) / COMMON_SIDE


# ── the explained layer ──────────────────────────────────────────────────────────────────────


_GRIDS: WeakKeyDictionary[Model, dict[tuple[str, torch.Size], tuple[int, ...]]] = (
    WeakKeyDictionary()
)


def grid_of(case: Case) -> tuple[int, ...]:
    """The grid of the explained layer, one number per image axis: found once per image size.

    Raises:
        LayerError: the layer has none.
    """
    known = _GRIDS.setdefault(case.model, {})
    place = case.layer, case.image.shape
    if place not in known:
        known[place] = tuple(maps_of(case).shape[1:])
    return known[place]


def maps_of(case: Case) -> Activations:
    """The maps of the explained layer, `k *g` float32: the tensor that Score-CAM reads.

    Raises:
        LayerError: it has no grid, or as many axes as the image has not.
    """
    images = case.image[None].to(case.model.device)
    maps = case.model.activations(images, case.layer)[0][0]
    if maps.ndim != case.image.ndim:
        raise LayerError(
            f"The layer {quoted(case.layer)} has another number of axes than the image."
        )
    return maps
