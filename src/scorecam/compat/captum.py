"""Captum's call (captum.ai has no Score-CAM of its own; this is shaped like its LayerGradCam).

from scorecam.compat.captum import LayerAttribution, LayerScoreCam
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

import scorecam
from scorecam.cam import weighted_sum
from scorecam.compat.maps import column_of
from scorecam.errors import SettingError
from scorecam.model import SIDES


class LayerAttribution:
    """What Captum's layer methods have in common."""

    @staticmethod
    def interpolate(
        layer_attribution: Tensor,
        interpolate_dims: int | tuple[int, ...],
        interpolate_mode: str = "nearest",
    ) -> Tensor:
        """A layer's attribution at another size, `b 1 *i`; as in Captum, nearest by default."""
        return functional.interpolate(layer_attribution, interpolate_dims, mode=interpolate_mode)


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
            additional_forward_args: further inputs of the model, in order; tensors as long as the
                batch belong to its images.
            relu_attributions: keep what speaks for the class only, as Score-CAM does.
            perturbations_per_eval: masked images per pass.
        """
        rest = additional_forward_args
        extra = () if rest is None else rest if isinstance(rest, tuple) else (rest,)
        model = scorecam.open_model(self.forward_func, masked_input=0)
        cam = scorecam.ScoreCAM(model, self.layer, batch_size=perturbations_per_eval or "auto")
        targets = target.tolist() if isinstance(target, Tensor) else target
        each = targets if isinstance(targets, list) else [targets] * len(inputs)
        if len(each) != len(inputs):
            raise SettingError(
                f"{len(each)} targets were given for {len(inputs)} images.",
                do="Give one for all images, or a list with one per image.",
            )
        maps: list[Tensor] = []
        for i, wanted in enumerate(each):
            own = tuple(_row(one, i, len(inputs)) for one in extra)
            bank = cam.bank((inputs[i : i + 1], *own) if own else inputs[i : i + 1])
            # Of a model with one number per image, that number is explained.
            one = wanted is None and bank.names == SIDES
            column = column_of(bank, 0 if one else wanted)
            weights = bank.weights(column, self.variant)[bank.asked]
            signed = weighted_sum(bank.activations[bank.asked], weights)
            maps.append(signed.relu() if relu_attributions else signed)
        return torch.stack(maps)[:, None]


def _row(value: Any, i: int, images: int) -> Any:
    """The part of a further input that belongs to image i."""
    batched = isinstance(value, Tensor) and value.ndim > 0 and len(value) == images
    return value[i : i + 1] if batched else value
