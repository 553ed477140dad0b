"""The backends that share one contract: each opens the same seeded networks.

To add a backend, add a line to `BACKENDS`; `tests/backends/test_contract.py` then checks it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

import scorecam
from scorecam.model.model import Model

SIDE = 16
CLASSES = 5
CHANNELS = 8
GRID = (8, 8)
"""Of the default layer: the last one with a grid, before the global pool."""


@dataclass(frozen=True)
class Backend:
    """A backend under test.

    Args:
        open: opens a network; it may write files in the folder, which is empty.
        needs: the capabilities that its tests need, as in `@pytest.mark.needs`.
        scores: the largest difference of its scores from PyTorch's, as a share of their range.
        maps: the largest difference of its scaled maps from PyTorch's.
        randomisable: whether weights can be re-initialised.
        gradients: whether it gives gradients.
        any_size: whether the opened networks take images of other sizes.
        elsewhere: runtimes whose conversion other tests check, because it takes seconds.
    """

    open: Callable[[nn.Module, Path], Model]
    needs: tuple[str, ...] = ()
    scores: float = 1e-5
    maps: float = 1e-4
    randomisable: bool = True
    gradients: bool = False
    any_size: bool = True
    elsewhere: tuple[str, ...] = ()


def _in_pytorch(network: nn.Module, folder: Path) -> Model:
    del folder
    return scorecam.open_model(network)


def _in_onnx_runtime(network: nn.Module, folder: Path) -> Model:
    from onnx_networks import exported

    return scorecam.open_model(exported(network, images(), folder / "net.onnx"))


def _in_openvino(network: nn.Module, folder: Path) -> Model:
    from openvino_networks import converted

    return scorecam.open_model(converted(network, images(), folder / "net.xml"))


BACKENDS: dict[str, Backend] = {
    "onnx": Backend(_in_onnx_runtime, needs=("onnx",), any_size=False),
    "pytorch": Backend(_in_pytorch, gradients=True, elsewhere=("compile", "openvino")),
    "openvino": Backend(_in_openvino, needs=("openvino",), any_size=False),
}
"""By name."""


def classifier(seed: int = 1) -> nn.Module:
    """Two convolutions and a head of logits, with weights drawn from a seed."""
    return _seeded(nn.Linear(CHANNELS, CLASSES), seed=seed)


def with_softmax(seed: int = 1) -> nn.Module:
    """The same with a softmax at its end."""
    return _seeded(nn.Linear(CHANNELS, CLASSES), nn.Softmax(dim=1), seed=seed)


def _seeded(*head: nn.Module, seed: int) -> nn.Module:
    body = nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2))
    tail = nn.Sequential(nn.Conv2d(6, CHANNELS, 3, padding=1), nn.ReLU())
    network = nn.Sequential(*body, *tail, nn.AdaptiveAvgPool2d(1), nn.Flatten(), *head)
    draw = torch.Generator().manual_seed(seed)
    for weight in network.parameters():
        scale = 0.5 if weight.ndim > 1 else 0.1
        weight.data = scale * torch.randn(weight.shape, generator=draw)
    return network.eval()


def images(count: int = 1, seed: int = 2) -> Tensor:
    """Images with a bright square each, at different places, `b 3 16 16`."""
    draw = torch.Generator().manual_seed(seed)
    pictures = 0.3 * torch.randn(count, 3, SIDE, SIDE, generator=draw)
    for place, picture in enumerate(pictures):
        corner = 2 * (place % 5)
        picture[place % 3, corner : corner + 6, corner : corner + 6] += 2
    return pictures
