"""Networks whose maps should be refused: re-initialised, or trained on shuffled labels."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from scorecam.model.model import WhiteBox

CONFIDENT = 0.95
"""The probability that a trained network must give to every label."""


def reinitialised(model: WhiteBox, parts: Sequence[str], image: Tensor, seed: int) -> WhiteBox:
    """A copy with the stages under these names re-initialised; `blocks.-1` is the last block."""
    stages = model.stages(image[None])
    blocks = [stage for stage in stages if stage.startswith("blocks.")]
    names = [blocks[int(p[7:]) * -1 - 1] if p.startswith("blocks.-") else p for p in parts]
    chosen = [s for s in stages if any(s == name or s.startswith(f"{name}.") for name in names)]
    return model.randomised(chosen, image[None], seed)


def recalibrate(model: Any, original: Any, images: Tensor) -> None:
    """Compute the statistics of the re-initialised batch norms on these images."""
    fresh = [
        module
        for name, module in model.module.named_modules()
        if isinstance(module, nn.BatchNorm2d)
        and not torch.equal(module.running_mean, original.module.get_submodule(name).running_mean)
    ]
    for norm in fresh:
        norm.reset_running_stats()
        norm.momentum = None
        norm.train()
    with torch.no_grad():
        model.module(images)
    model.module.eval()


def fine_tuned(
    model: Any, images: Tensor, labels: Sequence[int], seed: int, *, whole: bool = False
) -> nn.Module:
    """The network, trained on these labels until it is confident about every photo.

    Batch norms keep their statistics, so that it stays confident in evaluation mode.

    Args:
        whole: train the whole network; otherwise its last block and head.
    """
    torch.manual_seed(seed)
    network = copy.deepcopy(model.module).eval().requires_grad_(requires_grad=True)
    network.classifier = nn.Linear(network.classifier.in_features, max(labels) + 1)
    front = nn.Sequential(network.stem, *network.blocks[:-1])
    tail = nn.Sequential(
        network.blocks[-1], network.head, network.pool, network.flatten, network.classifier
    )
    body = nn.Sequential(front, tail) if whole else tail
    if not whole:
        with torch.no_grad():
            images = torch.cat([front(part) for part in images.split(8)])
    targets = torch.tensor(labels)
    optimiser = torch.optim.Adam(body.parameters(), 3e-4 if whole else 1e-3)
    epochs, confidence = 0, 0.0
    while confidence < CONFIDENT and epochs < 60:
        epochs, confidence = epochs + 1, 1.0
        for batch in torch.randperm(len(labels)).split(16):
            optimiser.zero_grad()
            scores = body(images[batch])
            functional.cross_entropy(scores, targets[batch]).backward()
            optimiser.step()
            own = scores.detach().softmax(dim=1).gather(1, targets[batch, None])
            confidence = min(confidence, float(own.min()))
    print(f"          trained on {len(labels)} for {epochs} epochs, least p {confidence:.2f}")
    return network.requires_grad_(requires_grad=False)
