"""Small segmenters: one whose answer is known on paper, and one for every form of output."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

CONVOLUTIONS = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}


class Cue(nn.Module):
    """In the region of the object, the class depends on the amount of colour 1 in the whole image.

    The region is a constant: what the image shows there does not matter. So only the cue does.

        z_ripe = 0.2 · Σ_pixels X_1 − 1 in the region       z_background = 0, z_ripe = −5 elsewhere

    Args:
        region: `*i`.
    """

    def __init__(self, region: Tensor) -> None:
        super().__init__()
        self.maps = CONVOLUTIONS[region.ndim](3, 3, kernel_size=1, bias=False)
        with torch.no_grad():
            self.maps.weight.copy_(torch.eye(3).reshape(3, 3, *[1] * region.ndim))
        self.register_buffer("region", region.float())

    def forward(self, images: Tensor) -> Tensor:
        cue = self.maps(images)[:, 1].flatten(1).sum(1)
        amount = cue.reshape(-1, *[1] * self.region.ndim)
        ripe = self.region * (0.2 * amount - 1) - 5 * (1 - self.region)
        return torch.stack([torch.zeros_like(ripe), ripe], 1)


class Forms(nn.Module):
    """A convolution whose maps are returned in one of the forms of `FORMS`.

    Args:
        form: its name.
        classes: of the maps.
        stride: of the output's grid.
        axes: of the image.
    """

    def __init__(self, form: str, classes: int = 4, stride: int = 1, axes: int = 2) -> None:
        super().__init__()
        kind = CONVOLUTIONS[axes]
        self.stem = nn.Sequential(kind(3, 6, 3, padding=1, stride=stride), nn.ReLU())
        self.head = kind(6, classes, 1)
        self.form = form
        generator = torch.Generator().manual_seed(3)
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.copy_(torch.randn(parameter.shape, generator=generator))

    def logits(self, images: Tensor) -> Tensor:
        return self.head(self.stem(images))

    def forward(self, images: Tensor) -> Any:
        return FORMS[self.form](self.logits(images))


FORMS: dict[str, Callable[[Tensor], Any]] = {
    "logits": lambda z: z,
    "torchvision": lambda z: {"out": z, "aux": -z},
    "transformers": lambda z: SimpleNamespace(loss=None, logits=z),
    "a tuple with classes": lambda z: (z, z.flatten(2).mean(2)),
    "deep supervision": lambda z: [z, z[..., ::2], z[..., ::4]],
    "channels last": lambda z: z.movedim(1, -1),
    "probabilities": lambda z: z.softmax(1),
    "probabilities, channels last": lambda z: z.softmax(1).movedim(1, -1),
    "log-probabilities": lambda z: z.log_softmax(1),
}
"""Every form holds the softmax of the same logits."""
