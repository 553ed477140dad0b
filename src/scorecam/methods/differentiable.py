"""Shared by the baselines: the differentiable score, checks of maps, and the layer's grid."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator
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
from scorecam.shapes import Activations, BatchedActivations, Columns, Heatmap, Image, Images

COMMON_SIDE = 224
"""The shorter side, in pixels, of the images that published lengths refer to."""

WITHOUT_GRADIENTS = "scorecam, rise, occlusion"


class Column(nn.Module):
    """The target's score of images, `b c *i` → `b`, as a module that can be differentiated.

    The score is a logit if the head has logits, and the model's own number otherwise. The "no" side
    of a yes-or-no model is derived from its "yes" side, as in Score-CAM.

    Args:
        readable: images → readout, `b n`.
        target: the column.
        head: the kind of the scores.
        dtype: the network's number format.
        probability: whether to return the target's probability instead.
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
        # A copy, because some networks write into their input, and a leaf must not be changed.
        scores = two_sided(self.readable(images.to(self.dtype).clone()), self.head)
        if self.target >= scores.shape[1]:
            raise TargetError(
                f"There is no class {self.target}: the model has {scores.shape[1]} classes, "
                "numbered from 0.",
                do="Give a smaller index.",
            )
        return (probabilities(scores, self.head) if self.probability else scores)[:, self.target]


@contextlib.contextmanager
def differentiated(
    case: Case, method: str, *, probability: bool = False
) -> Generator[tuple[Column, nn.Module, Images]]:
    """The case prepared for gradients.

    Args:
        case: the case.
        method: the method's name, for errors.
        probability: whether the probability is differentiated instead of the score.

    Yields:
        The target's score as a module, the network inside it, and a copy of the image, `1 c *i`,
        that requires a gradient.

    Raises:
        ModelError: the model cannot be differentiated.
    """
    model = _white_box(case, method)
    head = _head(case, needed=probability)
    dtype = getattr(torch, model.precision)
    with model.differentiable() as readable:
        network = readable.get_submodule("network")
        column = Column(readable, case.target, head, dtype, probability=probability)
        image = case.image.detach().to(model.device, torch.float32, copy=True)
        yield column, network, image[None].requires_grad_()


def hooked(case: Case, method: str) -> tuple[str, Callable[[Tensor], BatchedActivations]]:
    """The module of the explained layer, by name, and the maps in what it returns.

    Raises:
        ModelError: the model cannot be differentiated.
        LayerError: the layer has no grid, runs several times, or returns several tensors.
    """
    model = _white_box(case, method)
    return model.hooked(case.image[None].to(model.device), case.layer)


def _white_box(case: Case, method: str) -> WhiteBox:
    model = case.model
    if not isinstance(model, WhiteBox):
        raise ModelError(
            f"{method} needs gradients, and {model.spec} cannot be differentiated.",
            likely="The backend only returns scores.",
            do=f"Use methods without gradients: {WITHOUT_GRADIENTS}.",
        )
    return model


def _head(case: Case, *, needed: bool) -> Head:
    """What the scores are. It is detected only if the result depends on it."""
    declared = case.model.head
    if declared != "auto":
        single = declared == "logits" and _single(case)
        return "sigmoid" if single else declared
    return case.scorer.head if needed or _single(case) else "logits"


def _single(case: Case) -> bool:
    """Whether the readout has a single column, which may have two names."""
    names = case.model.names
    if names is not None and len(names) > 2:
        return False
    return case.model.scores(case.image[None]).shape[1] == 1


def finished(heatmap: Annotated[Tensor, "*i"], case: Case, method: str) -> Heatmap:
    """A method's result: float32, an ordinary tensor, on the image's device.

    Raises:
        ModelError: it has numbers that are not finite.
    """
    with torch.inference_mode(mode=False):
        map_ = heatmap.detach().to(case.image.device, torch.float32, copy=True)
    if not bool(map_.isfinite().all()):
        raise not_finite(method)
    return map_.contiguous()


def not_finite(method: str) -> ModelError:
    """The error for a map with NaN or infinity."""
    return ModelError(
        f"{method} computed numbers that are not finite.",
        likely="The model's scores, or their gradients, are not finite for this image.",
        do="Check the model's output for this image.",
    )


def photo_only(image: Image, method: str) -> None:
    """Refuse an image that is not a photo.

    Raises:
        SettingError: it does not have two axes.
    """
    if image.ndim != 3:
        raise SettingError(
            f"{method} is for photos, and the input has {image.ndim - 1} axes instead of 2.",
            do="Use another method for signals and volumes.",
        )


def pixels(published: float, image: Image) -> float:
    """A length published for images of 224 pixels, scaled to this image."""
    return published * min(image.shape[1:]) / COMMON_SIDE


# ── the explained layer ──────────────────────────────────────────────────────────────────────


_GRIDS: WeakKeyDictionary[Model, dict[tuple[str, torch.Size], tuple[int, ...]]] = (
    WeakKeyDictionary()
)


def grid_of(case: Case) -> tuple[int, ...]:
    """The grid of the explained layer, one number per image axis. It is cached per image size.

    Raises:
        LayerError: the layer has no grid.
    """
    known = _GRIDS.setdefault(case.model, {})
    place = case.layer, case.image.shape
    if place not in known:
        known[place] = tuple(maps_of(case).shape[1:])
    return known[place]


def maps_of(case: Case) -> Activations:
    """The activations of the explained layer, `k *g` float32, as Score-CAM uses them.

    Raises:
        LayerError: it has no grid, or not as many axes as the image.
    """
    images = case.image[None].to(case.model.device)
    maps = case.model.activations(images, case.layer)[0][0]
    if maps.ndim != case.image.ndim:
        raise LayerError(
            f"The layer {quoted(case.layer)} does not have as many axes as the image.",
            do="Choose a layer with a grid; `scorecam layers` lists them.",
        )
    return maps
