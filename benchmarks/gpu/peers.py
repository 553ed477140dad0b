"""The other packages: Score-CAM of torchcam and of grad-cam, and Grad-CAM of torchcam."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

PEER_BATCH = 128
"""Images per pass, as many as scorecam takes on a card. Their own defaults are 32 and 16."""

Peer = Callable[[nn.Module, nn.Module, Tensor, int], object]
"""The network, the layer, one image and the class → a map."""


def by_torchcam() -> Peer:
    """Score-CAM of torchcam."""
    import torchcam.methods

    def call(network: nn.Module, layer: nn.Module, x: Tensor, target: int) -> object:
        with torchcam.methods.ScoreCAM(network, layer, batch_size=PEER_BATCH) as method:
            with torch.inference_mode():
                network(x)
            return method(target)[0]

    return call


def by_grad_cam() -> Peer:
    """Score-CAM of grad-cam."""
    import pytorch_grad_cam
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    def call(network: nn.Module, layer: nn.Module, x: Tensor, target: int) -> object:
        # Not in a `with` block, because that would hide an IndexError.
        method: Any = pytorch_grad_cam.ScoreCAM(network, [layer])
        method.batch_size = PEER_BATCH
        with contextlib.redirect_stderr(io.StringIO()):  # it draws a progress bar
            return method(input_tensor=x, targets=[ClassifierOutputTarget(target)])[0]

    return call


def by_gradcam() -> Peer:
    """Grad-CAM of torchcam: one forward and one backward pass."""
    import torchcam.methods

    def call(network: nn.Module, layer: nn.Module, x: Tensor, target: int) -> object:
        with torchcam.methods.GradCAM(network, layer) as method:
            return method(target, network(x))[0]

    return call


PEERS: dict[str, Callable[[], Peer]] = {
    "torchcam": by_torchcam,
    "grad-cam": by_grad_cam,
    "gradcam": by_gradcam,
}
"""By the kind of a row; each imports its package."""
