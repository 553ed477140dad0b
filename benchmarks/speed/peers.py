"""The other packages: Score-CAM of torchcam and of grad-cam, and Grad-CAM of torchcam.

On a transformer, both get the `reshape_transform` that they offer: the tokens as a grid, without
the class token.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.speed.job import MIB, Job, Peak, now, save
from benchmarks.speed.rows import Json
from benchmarks.speed.subjects import network_of, reshape_transform
from scorecam import Model
from scorecam.base.interpolation import upsample

PEER_BATCH = 32
"""Images per batch in torchcam and grad-cam."""


def measure(job: Job, model: Model, images: Tensor) -> Json:
    """One map of another package, for the given layer and class."""
    image, device = images[job.at : job.at + 1], job.device
    layer = network_of(model).get_submodule(job.layer or model.find_layer(None, image))
    target = job.target
    if target is None:
        target = int(model.scores(image).argmax())
    transform = reshape_transform(job.network)
    call = {"torchcam": by_torchcam, "grad-cam": by_grad_cam, "gradcam": by_gradcam}[job.row](
        transform
    )
    with Peak(device) as peak:
        began = now(device)
        heatmap = call(network_of(model), layer, image, target)
        seconds = now(device) - began
    if job.row == "gradcam":
        save(job, [upsample(heatmap.float(), tuple(image.shape[2:]))[0]])
    return {"seconds": seconds, "peak_mib": peak.bytes / MIB}


Peer = Callable[[nn.Module, nn.Module, Tensor, int], Any]
Transform = Callable[[Tensor], Tensor] | None


def by_torchcam(transform: Transform) -> Peer:
    """Score-CAM of torchcam. Its map stays on the layer's grid."""
    import torchcam.methods

    def call(network: nn.Module, layer: nn.Module, x: Tensor, target: int) -> Any:
        with torchcam.methods.ScoreCAM(
            network, layer, batch_size=PEER_BATCH, reshape_transform=transform
        ) as method:
            with torch.inference_mode():
                network(x)
            return method(target)[0]

    return call


def by_grad_cam(transform: Transform) -> Peer:
    """Score-CAM of grad-cam."""
    import pytorch_grad_cam
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    def call(network: nn.Module, layer: nn.Module, x: Tensor, target: int) -> Any:
        # Not in a `with` block, because that would hide an IndexError.
        method = pytorch_grad_cam.ScoreCAM(network, [layer], reshape_transform=transform)
        method.batch_size = PEER_BATCH
        return method(input_tensor=x, targets=[ClassifierOutputTarget(target)])[0]

    return call


def by_gradcam(transform: Transform) -> Peer:
    """Grad-CAM of torchcam: a forward and a backward pass. Its map stays on the layer's grid."""
    import torchcam.methods

    def call(network: nn.Module, layer: nn.Module, x: Tensor, target: int) -> Any:
        with torchcam.methods.GradCAM(network, layer, reshape_transform=transform) as method:
            return method(target, network(x))[0]

    return call


def by_torchcam_gradcam(job: Job, model: Model) -> Callable[[Tensor], Tensor]:
    """The same for many images, `1 c *i` each, with its hooks in place; of the predicted class."""
    import torchcam.methods

    network = network_of(model)
    layer = network.get_submodule(job.layer or "")
    method = torchcam.methods.GradCAM(
        network, layer, reshape_transform=reshape_transform(job.network)
    )

    def call(x: Tensor) -> Tensor:
        scores = network(x)
        return method(int(scores.argmax()), scores)[0]

    return call
