"""A few masks of an image, on which a fast runtime is compared with the model."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from scorecam import cam
from scorecam.cam import Head, Masking, probabilities
from scorecam.model.batches import Batches, first_batch_size, photos_of
from scorecam.model.engine import Probe
from scorecam.model.head import in_range
from scorecam.model.model import Model
from scorecam.scoring.masked_image import MaskedImage, prepare
from scorecam.shapes import Activations, BatchedScores, Image, Images

MASKS = 4
"""Masks of a probe, at most."""

PHOTOS = 32
"""A probe has fewer masks, but at least two, if they take more memory than photos of 224 × 224."""


class MaskProbe(Probe):
    """Compares runtimes by the heatmaps of a few masks.

    Args:
        model: declares the head.
        image: gives the masks.
        masking: how activations become masks.
        passes: about how many masked images will be scored.
        seconds: the time the model itself takes for one image.
        others: more images that will be scored.
    """

    def __init__(
        self,
        model: Model,
        image: MaskedImage,
        masking: Masking,
        *,
        passes: int,
        seconds: float,
        others: Sequence[MaskedImage] = (),
    ) -> None:
        self.image = image.image
        self._all = [image, *others]
        self.passes = passes
        self.seconds = seconds
        self._head: Head | Literal["auto"] = model.head
        self._masking = masking
        most = min(MASKS, max(2, photos_of(self.image.shape[1:], PHOTOS)))
        some = torch.linspace(0, max(0, len(image) - 1), most).long().unique()
        self._maps = image.maps_of(some[: len(image)])
        # The last weight belongs to the image without a mask.
        mean = image.activations.mean(dim=0, keepdim=True)
        self._weighted = torch.cat([self._maps, mean])
        self._column = int(image.scores.argmax())

    def masked(self) -> Images:
        return self._blended(self._maps, self.image)

    def typical(self, count: int) -> Images:
        """Images and masked ones: other masks than those of `masked`, where there are enough."""
        used = self._all[:count]
        shares = [count // len(used) + (number < count % len(used)) for number in range(len(used))]
        return torch.cat([self._some(*pair) for pair in zip(used, shares, strict=True)])

    def _some(self, image: MaskedImage, count: int) -> Images:
        """The image, and `count − 1` masks of it at equal steps."""
        steps = (torch.arange(count - 1) + 0.5) / max(1, count - 1)
        maps = image.maps_of((steps * len(image)).long()[: count * len(image)])
        masked = self._blended(maps, image.image)
        return torch.cat([image.image.expand(count - len(masked), *self.image.shape), masked])

    def _blended(self, maps: Activations, image: Image) -> Images:
        """The image under the masks of these maps."""
        images = image.new_empty(len(maps), *image.shape)
        masks = cam.masks(maps, image.shape[1:], self._masking)
        cam.blend(image, masks, self._masking.hidden(image), images)
        return images

    def distance(self, one: BatchedScores, other: BatchedScores) -> float:
        head = self._head_of(one)
        difference = self._heatmap(one, head) - self._heatmap(other, head)
        largest = float(difference.abs().max())
        return math.inf if math.isnan(largest) else largest

    def _head_of(self, scores: BatchedScores) -> Head:
        """The head as declared, or a guess, which is good enough for a comparison."""
        if self._head != "auto":
            return self._head
        if in_range(scores):
            return "probabilities"
        return "logits" if scores.shape[1] > 1 else "sigmoid"

    def _heatmap(self, scores: BatchedScores, head: Head) -> Tensor:
        weights = probabilities(scores, head)[:, self._column]
        return cam.scaled(cam.weighted_sum(self._weighted, weights).relu())


def probe_of(model: Model, image: Image, layer: str | None = None) -> MaskProbe:
    """The probe of one image, whose masks are all scored.

    Args:
        image: `c *i`, preprocessed.
        layer: the layer whose activations become masks; None for the default.
    """
    images = image[None].detach().to(model.device, torch.float32)
    batches, masking = Batches(first_batch_size("auto", images)), Masking()
    layer = model.find_layer(layer, images)
    began = time.perf_counter()
    [masked] = prepare(model, images, layer, masking=masking, batches=batches)
    seconds = time.perf_counter() - began
    return MaskProbe(model, masked, masking, passes=len(masked), seconds=seconds)
