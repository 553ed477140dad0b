"""torchcam's call and map (github.com/frgfm/torch-cam, 0.5).

    from scorecam.compat.torchcam import ScoreCAM, overlay_mask

As in torchcam, the model is run first and the extractor is called afterwards. A hook stores the
last input until `remove_hooks()` or the end of the `with` block. The map equals theirs to 1e-5:
masks are scaled before upsampling, weights are a softmax over the channels' logits, and the map is
scaled and returned at the layer's grid.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Self, cast

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional

import scorecam
from scorecam.base.wording import quoted
from scorecam.compat.maps import (
    INFERNO,
    PerImage,
    column_of,
    minmax,
    refuse_argument,
    softmax_map,
)
from scorecam.errors import ModelError, SettingError, TargetError
from scorecam.images.colours import colour
from scorecam.io.arguments import flag, function, instance, several, sizes, tensor
from scorecam.io.ranges import Real

Layer = nn.Module | str
Target = Callable[[Any], Tensor]

MASKING = scorecam.Masking(scale="before", epsilon=1e-8)
MODES = {1: "linear", 2: "bilinear", 3: "trilinear"}


class ScoreCAM:
    """Score-CAM with torchcam's signature.

    Args:
        model: the network.
        target_layer: a name, a module, or a list of them; None for this package's default.
        batch_size: masked images per pass.
        input_shape: ignored; the shape of the input is used.
        enable_hooks: whether inputs are stored from the start.
        reshape_transform: a function from a layer's output to its maps, `b k u v`. It is seldom
            needed, because layouts are found from the network's operations.
    """

    def __init__(  # noqa: PLR0917  (torchcam's own order)
        self,
        model: nn.Module,
        target_layer: Layer | Sequence[Layer] | None = None,
        batch_size: int = 32,
        input_shape: tuple[int, ...] = (3, 224, 224),
        enable_hooks: bool = True,
        reshape_transform: Callable[[Any], Tensor] | None = None,
    ) -> None:
        del input_shape
        reshape = function("reshape_transform", reshape_transform, "a layer's output")
        single = target_layer is None or isinstance(target_layer, str | nn.Module)
        do = "Give a layer's name, a module, or a list of them."
        layers = [target_layer] if single else several("target_layer", target_layer, object, do)
        self._model = scorecam.open_model(model, head="value", reshape=reshape)
        self._cams = [
            scorecam.ScoreCAM(
                self._model, cast("Layer | None", layer), masking=MASKING, batch_size=batch_size
            )
            for layer in layers
        ]
        self._input = _LastInput()
        self._explaining = threading.local()
        self._storing = flag("enable_hooks", enable_hooks)
        self.hook_handles = [model.register_forward_pre_hook(self._store, with_kwargs=True)]

    def _store(
        self,
        _module: nn.Module,
        inputs: tuple[Any, ...],
        named: Mapping[str, Any] = MappingProxyType({}),
    ) -> None:
        # `named` is missing while another thread adds or removes the hook.
        if self._storing and not getattr(self._explaining, "now", False):
            first = next(iter((*inputs, *named.values())), None)
            self._input.set(first.detach().clone() if isinstance(first, Tensor) else None)

    def enable_hooks(self) -> None:
        """Store the inputs of the model from now on."""
        self._storing = True

    def disable_hooks(self) -> None:
        """Stop storing inputs."""
        self._storing = False

    def remove_hooks(self) -> None:
        """Remove the hook from the model."""
        for handle in self.hook_handles:
            handle.remove()
        self.hook_handles.clear()

    def reset_hooks(self) -> None:
        """Discard the stored input."""
        self._input = _LastInput()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.remove_hooks()
        self.reset_hooks()

    def __call__(
        self,
        class_idx: int | list[int] | None = None,
        scores: Tensor | None = None,
        normalized: bool = True,
        *,
        targets: Target | list[Target] | None = None,
    ) -> list[Tensor]:
        """The maps of the model's last input.

        Args:
            class_idx: one class for all, or one per image.
            scores: ignored.
            normalized: scale each map to [0, 1].
            targets: instead of classes: a function of one image's output, or one per image.

        Returns:
            One tensor `b u v` per layer, at the layer's grid.
        """
        del scores
        normalized = flag("normalized", normalized)
        images = self._input.get()
        if images is None:
            raise ModelError(
                "There is no input to explain.",
                do="Run the model on the input first, then call the extractor.",
            )
        if (class_idx is None) == (targets is None):
            raise TargetError(
                "Exactly one of class_idx and targets is needed.", do="Give one of them."
            )
        given = class_idx if class_idx is not None else targets
        per_image = given if isinstance(given, list) else [given] * len(images)
        if len(per_image) != len(images):
            raise TargetError(
                f"{len(per_image)} targets were given for {len(images)} images.",
                do="Give one for all images, or a list with one per image.",
            )
        self._explaining.now = True
        try:
            return [self._maps(cam, images, per_image, normalized) for cam in self._cams]
        finally:
            self._explaining.now = False

    @staticmethod
    def _maps(
        cam: scorecam.ScoreCAM, images: Tensor, targets: Sequence[Any], normalized: bool
    ) -> Tensor:
        maps: list[Tensor] = []
        for image, target in zip(images, targets, strict=True):
            if callable(target):
                bank, column = cam.bank(image, PerImage(cast(Target, target))), 0
            else:
                bank = cam.bank(image)
                column = column_of(bank, target)
            grid = softmax_map(bank, column)
            maps.append(minmax(grid, 1e-8) if normalized else grid)
        return torch.stack(maps)

    @staticmethod
    def fuse_cams(cams: list[Tensor], target_shape: tuple[int, ...] | None = None) -> Tensor:
        """The maximum over the maps of several layers, at the largest grid among them.

        Args:
            cams: one `b u v` per layer.
            target_shape: another grid.
        """
        cams = [
            tensor(cam, "Each of the maps")
            for cam in several("cams", cams, object, "Give a list of maps, b u v each.")
        ]
        if not cams:
            raise SettingError("There are no maps to fuse.", do="Give at least one.")
        axes = {cam.ndim for cam in cams}
        if axes not in ({2}, {3}, {4}) or any(0 in cam.shape for cam in cams):
            raise SettingError(
                f"The maps have the shapes {quoted([tuple(cam.shape) for cam in cams])}.",
                do="Give maps b u v, all with the same number of axes and none of them empty.",
            )
        if len(cams) == 1:
            return cams[0]
        largest = tuple(map(max, *(cam.shape[1:] for cam in cams)))
        shape = largest
        if target_shape is not None:
            shape = sizes("target_shape", target_shape, len(largest), 2**28)
        mode = MODES[len(shape)]
        resized = [functional.interpolate(cam[:, None], shape, mode=mode)[:, 0] for cam in cams]
        return torch.stack(resized).amax(dim=0)


class _LastInput:
    """The last input in this thread, or in any thread if there is none in this one."""

    def __init__(self) -> None:
        self._own = threading.local()
        self._any: Tensor | None = None

    def set(self, images: Tensor | None) -> None:
        self._own.images = self._any = images

    def get(self) -> Tensor | None:
        return getattr(self._own, "images", self._any)


def overlay_mask(
    img: Image.Image, mask: Image.Image, colormap: None = None, alpha: float = 0.7
) -> Image.Image:
    """A map blended over an image, in this package's colours.

    Args:
        img: grey or RGB.
        mask: mode "F" in [0, 1], or mode "L"; of any size.
        colormap: not supported.
        alpha: the weight of the image, in [0, 1).
    """
    refuse_argument("colormap", colormap, why=INFERNO)
    alpha = Real(0, math.nextafter(1, 0), closed=True).check("alpha", alpha)
    do = "Give a PIL image; Image.fromarray makes one of an array."
    img, mask = instance("img", img, Image.Image, do), instance("mask", mask, Image.Image, do)
    mask = mask if mask.mode == "F" else mask.convert("L")
    values = np.asarray(mask.resize(img.size, Image.Resampling.BILINEAR), np.float32)
    if mask.mode != "F":
        values = values / 255
    return Image.blend(Image.fromarray(colour(values)), img.convert("RGB"), alpha)
