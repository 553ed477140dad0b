"""Captum's call (captum.ai has no Score-CAM of its own; this is shaped like its LayerGradCam).

from scorecam.compat.captum import LayerAttribution, LayerScoreCam
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

import scorecam
from scorecam.base.wording import reason
from scorecam.cam import weighted_sum
from scorecam.compat.maps import column_of
from scorecam.errors import SettingError
from scorecam.io.arguments import choice, flag, sizes, tensor
from scorecam.model.columns import SIDES
from scorecam.model.model import Model

MODES = ("nearest", "nearest-exact", "linear", "bilinear", "bicubic", "trilinear", "area")
"""What torch can interpolate by."""


class LayerAttribution:
    """What Captum's layer methods have in common."""

    @staticmethod
    def interpolate(
        layer_attribution: Tensor,
        interpolate_dims: int | tuple[int, ...],
        interpolate_mode: str = "nearest",
    ) -> Tensor:
        """A layer's attribution at another size, `b 1 *i`; as in Captum, nearest by default."""
        maps = tensor(layer_attribution, "layer_attribution")
        mode = choice("interpolate_mode", interpolate_mode, MODES)
        axes = len(interpolate_dims) if isinstance(interpolate_dims, Sequence) else maps.ndim - 2
        dims = interpolate_dims if isinstance(interpolate_dims, Sequence) else [interpolate_dims]
        size = sizes("interpolate_dims", list(dims) * (axes if len(dims) == 1 else 1), axes, 2**28)
        try:
            return functional.interpolate(maps, size, mode=mode)
        except Exception as error:
            raise SettingError(
                f"Maps of shape {tuple(maps.shape)} cannot be brought to {size} by {mode}: "
                f"{reason(error)}",
                do="Give maps b 1 *i, and a size and a mode with as many axes.",
            ) from error


class LayerScoreCam(LayerAttribution):
    """Score-CAM as Captum would call it.

    Args:
        forward_func: the network.
        layer: one of its modules.
        variant: how answers become weights.
    """

    def __init__(
        self, forward_func: nn.Module, layer: nn.Module, variant: str = "official"
    ) -> None:
        self.forward_func = forward_func
        self.layer = layer
        self.variant = variant

    def attribute(
        self,
        inputs: Tensor,
        target: int | list[int] | Tensor | None = None,
        additional_forward_args: Any = None,
        relu_attributions: bool = True,
        perturbations_per_eval: int | None = None,
    ) -> Tensor:
        """Σ_k α_k A_k at the layer's grid, `b 1 u v`, not scaled.

        Args:
            inputs: `b c h w`, preprocessed.
            target: one class for all images, or one per image; None where the model gives one
                number per image.
            additional_forward_args: further inputs of the model, in order; a tensor as long as the
                batch belongs to its images unless the model's answers show otherwise.
            relu_attributions: keep what speaks for the class only, as Score-CAM does.
            perturbations_per_eval: masked images per pass.
        """
        if not tensor(inputs).ndim or not len(inputs):
            raise SettingError("The input holds no images.", do="Give b c h w, at least one.")
        relu_attributions = flag("relu_attributions", relu_attributions)
        batch_size = "auto" if perturbations_per_eval is None else perturbations_per_eval
        rest = additional_forward_args
        extra = () if rest is None else rest if isinstance(rest, tuple) else (rest,)
        model = scorecam.open_model(self.forward_func, masked_input=0)
        targets = tensor(target, "target").tolist() if isinstance(target, Tensor) else target
        each = targets if isinstance(targets, list) else [targets] * len(inputs)
        if len(each) != len(inputs):
            raise SettingError(
                f"{len(each)} targets were given for {len(inputs)} images.",
                do="Give one for all images, or a list with one per image.",
            )
        models: Sequence[Model] = [model] * len(inputs)
        if extra:
            models = model.confirmed((inputs, *extra), model.apart((inputs, *extra))[1])
        maps: list[Tensor] = []
        for i, wanted in enumerate(each):
            cam = scorecam.ScoreCAM(models[i], self.layer, batch_size=batch_size)
            bank = cam.bank(inputs[i : i + 1])
            # Of a model with one number per image, that number is explained.
            one = wanted is None and bank.names == SIDES
            column = column_of(bank, 0 if one else wanted)
            weights = bank.weights(column, self.variant)[bank.asked]
            signed = weighted_sum(bank.activations[bank.asked], weights)
            maps.append(signed.relu() if relu_attributions else signed)
        return torch.stack(maps)[:, None]
