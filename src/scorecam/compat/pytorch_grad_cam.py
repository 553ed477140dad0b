"""pytorch-grad-cam's call and map (github.com/jacobgil/pytorch-grad-cam, 1.5).

    from scorecam.compat.pytorch_grad_cam import ScoreCAM, ClassifierOutputTarget, show_cam_on_image

The map equals theirs to 1e-5: masks are upsampled with aligned corners, weights are a softmax over
the channels' logits, and the map is scaled at the layer's grid and again at the image's size. A
target is any function of one image's output that returns one number, such as the targets of
pytorch-grad-cam.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

import scorecam
from scorecam.compat.maps import (
    INFERNO,
    PerImage,
    column_of,
    minmax,
    refuse_argument,
    softmax_map,
)
from scorecam.errors import SettingError
from scorecam.images.colours import colour
from scorecam.io.arguments import flag, function, instance, several, tensor
from scorecam.io.ranges import SHARE
from scorecam.model.columns import POSITIVE, SIDES

Target = Callable[[Any], Tensor]
"""One image's output → one number."""

FloatArray = npt.NDArray[np.float32]

MASKING = scorecam.Masking(align_corners=True, epsilon=1e-8)


class ScoreCAM:
    """Score-CAM with pytorch-grad-cam's signature.

    Args:
        model: the network.
        target_layers: layers as modules; the maps of several are averaged.
        reshape_transform: a function from a layer's output to its maps, `b k u v`. It is seldom
            needed, because layouts are found from the network's operations.
    """

    batch_size: int = 16

    def __init__(
        self,
        model: nn.Module,
        target_layers: list[nn.Module],
        reshape_transform: Callable[[Any], Tensor] | None = None,
    ) -> None:
        reshape = function("reshape_transform", reshape_transform, "a layer's output")
        self.model = scorecam.open_model(model, head="value", reshape=reshape)
        do = "Give a list of the network's modules."
        self.target_layers = several("target_layers", target_layers, nn.Module, do)
        self.outputs: Any = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def __call__(
        self,
        input_tensor: Tensor,
        targets: Sequence[Target] | None = None,
        aug_smooth: bool = False,
        eigen_smooth: bool = False,
    ) -> FloatArray:
        """One map per image, `b h w` float32 in [0, 1].

        Args:
            input_tensor: `b c h w`, preprocessed.
            targets: one function of an image's output per image; None for the predictions.
            aug_smooth: average over flips and brightness, for six times as many passes.
            eigen_smooth: not supported.
        """
        tensor(input_tensor)
        if targets is not None:
            targets = several("targets", targets, Callable, "Give a list of functions, or None.")
        if flag("eigen_smooth", eigen_smooth):
            raise SettingError("eigen_smooth is not supported.", do="Leave it out.")
        if not flag("aug_smooth", aug_smooth):
            return self._maps(input_tensor, targets)
        maps: list[FloatArray] = []
        for factor in (0.9, 1.0, 1.1):
            maps.append(self._maps(input_tensor * factor, targets))
            flipped = self._maps((input_tensor * factor).flip(-1), targets)
            maps.append(flipped[..., ::-1])
        return np.stack(maps).mean(axis=0)

    def _maps(self, x: Tensor, targets: Sequence[Target] | None) -> FloatArray:
        if not x.ndim:
            raise SettingError("The input has no axes.", do="Give images, b c h w.")
        if targets is not None and len(targets) != len(x):
            raise SettingError(
                f"{len(targets)} targets were given for {len(x)} images.", do="Give one per image."
            )
        if not len(x) or not self.target_layers:
            raise SettingError(
                f"The input has the shape {tuple(x.shape)}, and target_layers has "
                f"{len(self.target_layers)} layers.",
                do="Give at least one of each.",
            )
        per_image = [None] * len(x) if targets is None else targets
        outputs: list[Any] = []
        maps = [
            self._map(image, target, outputs) for image, target in zip(x, per_image, strict=True)
        ]
        tensors = all(isinstance(output, Tensor) for output in outputs)
        self.outputs = torch.stack(outputs) if tensors else outputs
        return np.stack(maps)

    def _map(self, image: Tensor, target: Target | None, outputs: list[Any]) -> FloatArray:
        """One image's map; appends the output for the unmasked image to `outputs`."""
        output: Any = None
        scaled: list[Tensor] = []
        for layer in self.target_layers:
            cam = scorecam.ScoreCAM(self.model, layer, masking=MASKING, batch_size=self.batch_size)
            if target is None or isinstance(target, ClassifierOutputTarget):
                bank = cam.bank(image)
                column = column_of(bank, None if target is None else target.category)
                output = bank.image_scores[POSITIVE:] if bank.names == SIDES else bank.image_scores
            else:
                readout = PerImage(target)
                bank, column = cam.bank(image, readout), 0
                output = readout.first
            grid = minmax(softmax_map(bank, column), 1e-7)
            scaled.append(
                functional.interpolate(grid[None, None], bank.size, mode="bilinear")[0, 0]
            )
        outputs.append(output)
        return minmax(torch.stack(scaled).mean(dim=0), 1e-7).cpu().numpy()


# ── targets ──────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class ClassifierOutputTarget:
    """The raw score of a category."""

    category: int

    def __call__(self, model_output: Tensor) -> Tensor:
        """`n` → one number, or `b n` → `b`."""
        return model_output[..., self.category]


# ── picture ──────────────────────────────────────────────────────────────────────────────────


def show_cam_on_image(
    img: npt.NDArray[Any],
    mask: npt.NDArray[Any],
    use_rgb: bool = False,
    colormap: None = None,
    image_weight: float = 0.5,
) -> npt.NDArray[np.uint8]:
    """A map over an image, `h w 3` uint8, in this package's colours instead of OpenCV's jet.

    Args:
        img: `h w 3` float in [0, 1].
        mask: `h w` in [0, 1].
        use_rgb: whether the image is RGB; otherwise it is BGR, as in OpenCV.
        colormap: not supported.
        image_weight: the weight of the image in the mixture, in [0, 1].
    """
    image_weight = SHARE.check("image_weight", image_weight)
    use_rgb = flag("use_rgb", use_rgb)
    for name, array, axes in (("img", img, 3), ("mask", mask, 2)):
        instance(name, array, np.ndarray, "Give a numpy array of floats in [0, 1].")
        if array.ndim != axes or not array.size or array.dtype.kind not in "fiub":
            raise SettingError(
                f"{name} has the shape {array.shape} and the dtype {array.dtype}.",
                do="Give img as h w 3 and mask as h w, floats in [0, 1].",
            )
    refuse_argument("colormap", colormap, why=INFERNO)
    if mask.shape != img.shape[:2]:
        raise SettingError(
            f"The map has the shape {mask.shape}, and the image {img.shape}.",
            do="Resize the map to the image first.",
        )
    if img.max() > 1:
        raise SettingError("The image has values above 1.", do="Divide 8-bit images by 255.")
    colours = colour(mask).astype(np.float32) / 255
    mixed = image_weight * img + (1 - image_weight) * (colours if use_rgb else colours[..., ::-1])
    brightest = mixed.max()
    return (mixed / (brightest if brightest > 0 else 1) * 255).astype(np.uint8)
