"""Control maps: they do not depend on the model, or not on the class, or exploit a metric."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from scorecam import cam
from scorecam.base.interpolation import upsample
from scorecam.cam import Masking
from scorecam.io.ranges import Real
from scorecam.methods.declared import DeclaredMethod, setting
from scorecam.methods.differentiable import (
    finished,
    grid_of,
    maps_of,
    photo_only,
)
from scorecam.methods.method import Case
from scorecam.shapes import Heatmap, Image

LUMA = (0.299, 0.587, 0.114)
"""The perceived brightness of red, green and blue (ITU-R BT.601)."""


@dataclass(frozen=True)
class Uniform(DeclaredMethod):
    """1 everywhere."""

    kind = "uniform"
    source = "a control"

    def heatmap(self, case: Case) -> Heatmap:
        return finished(torch.ones_like(case.image[0]), case, self.name)


@dataclass(frozen=True)
class Random(DeclaredMethod):
    """A random number in [0, 1) for each cell of the layer's grid, upsampled as in Score-CAM.

    The random seed depends on the case's seed and the image, so that results can be reproduced.
    """

    kind = "random"
    source = "a control"
    fixed: ClassVar[Mapping[str, object]] = {
        "cells": "the layer's grid",
        "upsampling": "linear, half-pixel",
    }

    def heatmap(self, case: Case) -> Heatmap:
        generator = torch.Generator("cpu").manual_seed(_seed(case))
        cells = torch.rand(
            1, *grid_of(case), generator=generator, device="cpu", dtype=torch.float32
        )
        return finished(upsample(cells, tuple(case.image.shape[1:]))[0], case, self.name)


def _seed(case: Case) -> int:
    """The random seed for a case's seed and image."""
    values = case.image.detach().to("cpu", torch.float32).contiguous().numpy().tobytes()
    digest = hashlib.sha256(f"{case.seed} ".encode() + values).digest()
    return int.from_bytes(digest[:7], "big")


@dataclass(frozen=True)
class Centre(DeclaredMethod):
    """A Gaussian with the value 1 at the centre.

    Args:
        name: as users write it.
        sigma: its standard deviation along each axis, relative to the image's side.
    """

    kind = "centre"
    source = "a control: photographers put things in the middle"

    sigma: float = setting(0.25, Real(0, 1000))

    def heatmap(self, case: Case) -> Heatmap:
        size = case.image.shape[1:]
        exponent = torch.zeros(size, device="cpu", dtype=torch.float32)
        for axis, side in enumerate(size):
            away = (
                (torch.arange(side, device="cpu", dtype=torch.float32) + 0.5) / side - 0.5
            ) / self.sigma
            exponent -= 0.5 * away.square().reshape(
                [-1 if i == axis else 1 for i in range(len(size))]
            )
        return finished(exponent.exp(), case, self.name)


@dataclass(frozen=True)
class Edges(DeclaredMethod):
    """The magnitude of the Sobel gradient of the photo's brightness."""

    kind = "edges"
    source = "a control: Sobel's edge detector"
    fixed: ClassVar[Mapping[str, object]] = {"beyond the edge": "repeated", "brightness": "BT.601"}

    def heatmap(self, case: Case) -> Heatmap:
        photo_only(case.image, self.name)
        return finished(_sobel(_brightness(case)), case, self.name)


def _brightness(case: Case) -> Heatmap:
    """The photo's brightness up to a constant: the mean unless there are three colours."""
    image: Image = case.image.detach().to("cpu", torch.float32)
    if len(image) != len(LUMA):
        return image.mean(dim=0)
    share = torch.tensor(LUMA, device="cpu", dtype=torch.float32)[:, None, None]
    if (prepared := case.model.preprocess) is not None:
        share = prepared.reordered(share) * prepared.colours()[1]
    return (image * share).sum(dim=0)


def _sobel(brightness: Tensor) -> Heatmap:
    slope = torch.tensor([[-1.0, 0.0, 1.0]], device="cpu", dtype=torch.float32)
    across = torch.tensor([[1.0], [2.0], [1.0]], device="cpu", dtype=torch.float32) @ slope
    kernels = torch.stack([across, across.T])[:, None]
    padded = functional.pad(brightness[None, None], (1, 1, 1, 1), mode="replicate")
    return functional.conv2d(padded, kernels)[0].square().sum(dim=0).sqrt()


@dataclass(frozen=True)
class FakeCAM(DeclaredMethod):
    """1 everywhere except 0 in the first pixel: no explanation, but a low Average Drop."""

    kind = "fakecam"
    source = "Poppi et al., CVPR workshops 2021"

    def heatmap(self, case: Case) -> Heatmap:
        fake = torch.ones(case.image.shape[1:], device="cpu", dtype=torch.float32)
        fake[(0,) * fake.ndim] = 0
        return finished(fake, case, self.name)


@dataclass(frozen=True)
class Mean(DeclaredMethod):
    """The plain mean of the activations: Score-CAM with equal weights, the same for every class.

    Channels without a mask are left out, as in Score-CAM.
    """

    kind = "mean"
    source = "a control: Score-CAM without its weights"

    def heatmap(self, case: Case) -> Heatmap:
        size = tuple(case.image.shape[1:])
        maps = maps_of(case)
        maps = maps[cam.live(maps, size, Masking())]
        even = torch.full_like(maps.flatten(1)[:, 0], 1 / max(len(maps), 1))
        return finished(cam.heatmap(maps, even, size), case, self.name)


METHODS: tuple[type[DeclaredMethod], ...] = (Uniform, Random, Centre, Edges, FakeCAM, Mean)
"""The methods of this file."""
