"""The other packages: Score-CAM of torchcam and of grad-cam, and Grad-CAM of grad-cam."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.speed.job import MIB, Job, Peak, now, save
from benchmarks.speed.rows import Json
from benchmarks.speed.subjects import network_of
from scorecam import Model

PEER_BATCH = 32
"""Images per batch in torchcam and grad-cam."""


def measure(job: Job, model: Model, images: Tensor) -> Json:
    """One map of another package, for the given layer and class."""
    image, device = images[job.at : job.at + 1], job.device
    layer = network_of(model).get_submodule(job.layer or model.find_layer(None, image))
    target = job.target
    if target is None:
        target = int(model.scores(image).argmax())
    call = {"torchcam": by_torchcam, "grad-cam": by_grad_cam, "gradcam": by_gradcam}[job.row]()
    with Peak(device) as peak:
        began = now(device)
        heatmap = call(network_of(model), layer, image, target)
        seconds = now(device) - began
    if job.row == "gradcam":
        save(job, [torch.as_tensor(heatmap)])
    return {"seconds": seconds, "peak_mib": peak.bytes / MIB}


Peer = Callable[[nn.Module, nn.Module, Tensor, int], Any]


def by_torchcam() -> Peer:
    """Score-CAM of torchcam. Its map stays on the layer's grid."""
    import torchcam.methods

    def call(network: nn.Module, layer: nn.Module, x: Tensor, target: int) -> Any:
        with torchcam.methods.ScoreCAM(network, layer, batch_size=PEER_BATCH) as method:
            with torch.inference_mode():
                network(x)
            return method(target)[0]

    return call


def by_grad_cam() -> Peer:
    """Score-CAM of grad-cam."""
    import pytorch_grad_cam
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    def call(network: nn.Module, layer: nn.Module, x: Tensor, target: int) -> Any:
        # Not in a `with` block, because that would hide an IndexError.
        method = pytorch_grad_cam.ScoreCAM(network, [layer])
        method.batch_size = PEER_BATCH
        return method(input_tensor=x, targets=[ClassifierOutputTarget(target)])[0]

    return call


def by_gradcam() -> Peer:
    """Grad-CAM of grad-cam: one forward and one backward pass."""
    import pytorch_grad_cam
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    def call(network: nn.Module, layer: nn.Module, x: Tensor, target: int) -> Any:
        method = pytorch_grad_cam.GradCAM(network, [layer])
        return method(input_tensor=x, targets=[ClassifierOutputTarget(target)])[0]

    return call
