"""Layers that compute their weights in each pass: parametrised, normalised and pruned ones.

Their initialisers write into the computed weights, which the next pass computes again. So the new
weights must be passed on to the parameters from which they are computed.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.nn.utils.weight_norm import WeightNorm

ORIGINAL = "_orig"
"""The end of the names of parameters from which spectral_norm and pruning compute weights."""


def parametrised(layer: nn.Module) -> bool:
    """Whether `torch.nn.utils.parametrize` computes a weight of this layer."""
    return parametrize.is_parametrized(layer)


def reinitialise(layer: nn.Module, method: str) -> None:
    """Call a layer's initialiser, so that the weights which it computes change.

    Args:
        method: the initialiser's name.

    Raises:
        Exception: the initialiser failed, or a parametrisation cannot take its result.
    """
    if parametrised(layer):
        _reinitialise_parametrised(layer, method)
        return
    getattr(layer, method)()
    hooks = cast("dict[int, Any]", vars(layer)["_forward_pre_hooks"])
    for hook in hooks.values():
        if isinstance(hook, WeightNorm):
            weight: Tensor = getattr(layer, hook.name)
            layer.get_parameter(f"{hook.name}_v").copy_(weight)
            layer.get_parameter(f"{hook.name}_g").copy_(torch.norm_except_dim(weight, 2, hook.dim))
    for name, parameter in layer.named_parameters(recurse=False):
        computed = getattr(layer, name.removesuffix(ORIGINAL), None)
        if name.endswith(ORIGINAL) and isinstance(computed, Tensor):
            parameter.copy_(computed)


def _reinitialise_parametrised(layer: nn.Module, method: str) -> None:
    """As `reinitialise`, for a layer with parametrisations.

    They cannot be removed from a copy: its class is shared with the user's own layer.
    """
    computed = cast("dict[str, Any]", layer.parametrizations)
    plain = object.__new__(parametrize.type_before_parametrizations(layer))
    vars(plain).update(vars(layer))  # its other parameters are re-initialised in place
    weights = {name: nn.Parameter(getattr(layer, name).clone()) for name in computed}
    vars(plain)["_parameters"] = vars(layer)["_parameters"] | weights
    vars(plain)["_modules"] = {
        name: child for name, child in layer.named_children() if name != "parametrizations"
    }
    reinitialise(plain, method)
    for name, value in weights.items():
        try:
            setattr(layer, name, value.detach())
        except (
            NotImplementedError,
            RuntimeError,
            ValueError,
        ):  # it has no inverse, or not for these numbers
            original = computed[name].original
            if original.shape != value.shape:
                raise
            original.copy_(value)
