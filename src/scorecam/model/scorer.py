"""Scores any images with a model, in batches that fit into memory."""

from __future__ import annotations

import math
import time

import torch

from scorecam.cam import Head, probabilities
from scorecam.model.batches import Batches, BatchSize, first_batch_size
from scorecam.model.columns import two_names, two_sided
from scorecam.model.engine import Engine, Probe, Speed
from scorecam.model.head import DetectedHead, find_head
from scorecam.model.model import Model
from scorecam.shapes import BatchedScores, Columns, Image, Images


class Scorer:
    """Scores any images, for example thousands of changed copies of one image.

    Args:
        model: the model.
        image: `c *i`, on which faster engines are compared with the model.
        head: the kind of the scores; None to detect it from the scores of the image and the fill.
        fill: the empty image.
        speed: the runtime and the precision.
        passes: about how many images will be scored, to decide whether a conversion is worth it.
        batch_size: images per pass.

    Attributes:
        head: the kind of the scores.
        remarks: about the head, for the user.
        columns: the scores of the image, `n`.
        names: one per column, if known.
        two_sided: whether the columns are the two sides of a yes-or-no answer.
        scored: the number of images scored so far.
    """

    def __init__(
        self,
        model: Model,
        image: Image,
        *,
        head: Head | None = None,
        fill: Image | None = None,
        speed: Speed | None = None,
        passes: int = 1000,
        batch_size: BatchSize = "auto",
    ) -> None:
        images = image[None].detach().to(model.device, torch.float32)
        self._batches = Batches(first_batch_size(batch_size, images))
        empty = torch.zeros_like(images) if fill is None else fill[None].to(images)
        began = time.perf_counter()
        scores = self._batches.of(model)(torch.cat([images, empty]))
        seconds = (time.perf_counter() - began) / 2
        self.scored = 2
        detected = (
            DetectedHead(head)
            if head
            else find_head(model, images[0], scores, self._batches.of(model))
        )
        self.scored += detected.passes
        self.head: Head = detected.head
        self.remarks = (detected.remark,) if detected.remark else ()
        self.names = two_names(model.names, scores.shape[1], self.head)
        self.columns: Columns = two_sided(scores[:1], self.head)[0]
        self.two_sided = len(self.columns) != scores.shape[1]
        probe = _HalvesProbe(images[0], passes, seconds, self.head)
        self.engine: Engine = model.engine(speed or Speed(), probe)
        self.scored += self.engine.probed
        if batch_size == "auto" and self.engine.batch is not None:
            self._batches.prefer(self.engine.batch)

    def scores(self, images: Images) -> BatchedScores:
        """The readout of each image, `b n` float32.

        Raises:
            MemoryShortage: not even one image fits.
            ModelError: the model fails.
        """
        self.scored += len(images)
        parts = self._batches.over(len(images), lambda part: self.engine.scores(images[part]))
        return two_sided(torch.cat(list(parts)), self.head)

    def probabilities(self, images: Images, target: int) -> Columns:
        """The probability of one column for each image, `b` float32; the score for values."""
        return probabilities(self.scores(images), self.head)[:, target]


class _HalvesProbe(Probe):
    """Compares runtimes by the probabilities of the halves of an image."""

    def __init__(self, image: Image, passes: int, seconds: float, head: Head) -> None:
        self.image = image
        self.passes = passes
        self.seconds = seconds
        self._head: Head = head

    def masked(self) -> Images:
        return _halves(self.image)

    def distance(self, one: BatchedScores, other: BatchedScores) -> float:
        difference = probabilities(one, self._head) - probabilities(other, self._head)
        largest = float(difference.abs().max())
        return math.inf if math.isnan(largest) else largest


def _halves(image: Image) -> Images:
    """Copies of the image with one half empty, for both halves along the last two axes."""
    halves: list[Image] = []
    for axis in range(1, min(image.ndim, 3)):
        for first in (True, False):
            half = image.clone()
            middle = image.shape[axis] // 2
            half.narrow(axis, 0 if first else middle, middle).zero_()
            halves.append(half)
    return torch.stack(halves)
