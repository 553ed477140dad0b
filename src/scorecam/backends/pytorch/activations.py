"""The layer that the user means, and its output as activation maps."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from scorecam.backends.pytorch import layers
from scorecam.base.wording import quoted
from scorecam.errors import LayerError
from scorecam.shapes import BatchedActivations, Images


def check_readable(module: nn.Module) -> None:
    """Refuse to look for layers in TorchScript.

    Raises:
        LayerError: the network is TorchScript.
    """
    if isinstance(module, torch.jit.ScriptModule):
        raise LayerError(
            "The network is TorchScript (torch.jit.script, trace or load), which runs outside "
            "Python, so its layers cannot be read.",
            do="Pass the torch.nn.Module that it was made from, with its weights.",
        )


def name_of(layer: object, module: nn.Module) -> str:
    """The name of a layer that the user gives as a name or as a module.

    Raises:
        LayerError: the network has no such layer.
    """
    names = dict(module.named_modules(remove_duplicate=False))
    if isinstance(layer, nn.Module):
        for name, child in names.items():
            if child is layer:
                return name
        raise LayerError(
            f"The layer, a {type(layer).__name__}, is not part of the model.",
            likely="It may belong to another instance of the same network.",
            do="Pass the layer's name instead.",
        )
    if not isinstance(layer, str):
        raise LayerError(
            f"A layer is a name or a module of the model, not a {type(layer).__name__}."
        )
    if layer not in names:
        raise layers.unknown_layer(layer, module)
    return layer


def channels_first(
    output: Any, images: Images, layer: str, module: nn.Module
) -> BatchedActivations:
    """A layer's output as `b k *g` float32.

    Raises:
        LayerError: it has no grid.
    """
    if not isinstance(output, Tensor):
        raise LayerError(
            f"The layer {quoted(layer)} returns a {type(output).__name__}, not a tensor.",
            do="Choose a layer inside it; scorecam.layers(model, image) lists them.",
        )
    if output.is_quantized:
        output = output.dequantize()
    layout, grid = layers.grid_of(output.shape, images.shape[2:], module)
    if not grid or len(output) != len(images):
        raise LayerError(
            f"The layer {quoted(layer)} has no grid: its output has the shape "
            f"{tuple(output.shape)} for an input of shape {tuple(images.shape)}.",
            likely="Pooled, flattened and fully connected layers have no positions.",
            do="Choose an earlier layer; scorecam.layers(model, image) lists them.",
        )
    maps = output.movedim(-1, 1) if layout == "channels last" else output
    return maps.to(torch.float32, copy=True, memory_format=torch.contiguous_format)
