"""The number of image axes of a network, from its first convolution."""

from __future__ import annotations

import re
from collections.abc import Iterator

import torch
from torch import nn

CONVOLUTIONS: dict[type[nn.Module], int] = {nn.Conv1d: 1, nn.Conv2d: 2, nn.Conv3d: 3}


def image_axes(module: nn.Module) -> int:
    """The axes along which the first convolution slides; 2 if none is found."""
    for child in module.modules():
        kind = getattr(child, "original_name", "")  # the class that TorchScript was made from
        for convolution, axes in CONVOLUTIONS.items():
            if isinstance(child, convolution) or kind == convolution.__name__:
                return axes
    return next((int(found) for graph in _graphs(module) for found in _slid(graph)), 2)


def _graphs(module: nn.Module) -> Iterator[str]:
    """The operations of frozen TorchScript and of exported programs, as text."""
    for child in module.modules():
        graph = getattr(child, "graph", None)
        if isinstance(graph, torch.fx.Graph | torch.Graph):
            yield str(graph)


def _slid(graph: str) -> list[str]:
    return re.findall(r"aten(?:::|\.)conv(?:_transpose)?([123])d", graph)
