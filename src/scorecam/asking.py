"""Puts images to a model, in batches that fit into memory, and says what its answers are."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from typing import Literal, TypeVar

import torch

from scorecam.errors import MemoryShortage, SettingError
from scorecam.heads import Found, find_head
from scorecam.model import (
    Engine,
    Head,
    Model,
    Probe,
    Speed,
    memory_errors_translated,
    probabilities,
    two_names,
    two_sided,
)
from scorecam.ranges import BATCH_SIZE
from scorecam.shapes import BatchedScores, Columns, Image, Images
from scorecam.wording import quoted

BatchSize = int | Literal["auto"]

T = TypeVar("T")


class Scorer:
    """What a model answers to any images: changed copies of one image, say, thousands of times.

    Args:
        model: what is asked.
        image: `c *i`, on which a faster engine shows that it agrees.
        head: what the scores are; None to tell from the answers to the image and to the fill.
        fill: what an empty image is.
        speed: what may run the model, and in which precision.
        passes: images that are to be asked about, about: whether converting a network pays.
        batch_size: images per pass.

    Attributes:
        head: what the scores are.
        remarks: what the user should hear of that.
        columns: the readout of the image, `n`.
        names: one per column, where known.
        two_sided: whether the columns are the two sides of a yes-or-no answer.
        asked: images that were put to the model so far.
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
        said = model.scores(torch.cat([images, empty]))
        seconds = (time.perf_counter() - began) / 2
        self.asked = 2
        found = Found(head) if head else find_head(model, images[0], said, self._batches.of(model))
        self.asked += found.passes
        self.head: Head = found.head
        self.remarks = (found.remark,) if found.remark else ()
        self.names = two_names(model.names, said.shape[1], self.head)
        self.columns: Columns = two_sided(said[:1], self.head)[0]
        self.two_sided = len(self.columns) != said.shape[1]
        probe = Probe(images[0], lambda: _halves(images[0]), passes, seconds, self._distance)
        self.engine: Engine = model.engine(speed or Speed(), probe)
        self.asked += self.engine.probed
        if batch_size == "auto" and self.engine.batch is not None:
            self._batches.size = min(self._batches.size, self.engine.batch)

    def scores(self, images: Images) -> BatchedScores:
        """The readout of each image, `b n` float32.

        Raises:
            MemoryShortage: not even one image fits.
            ModelError: the model fails.
        """
        self.asked += len(images)
        parts = self._batches.over(len(images), lambda part: self.engine.scores(images[part]))
        return two_sided(torch.cat(list(parts)), self.head)

    def probabilities(self, images: Images, target: int) -> Columns:
        """P of one column for each image, `b` float32; the number itself where there is none."""
        return probabilities(self.scores(images), self.head)[:, target]

    def _distance(self, one: BatchedScores, other: BatchedScores) -> float:
        """The largest difference between two engines' probabilities."""
        found = float((probabilities(one, self.head) - probabilities(other, self.head)).abs().max())
        return math.inf if math.isnan(found) else found


def _halves(image: Image) -> Images:
    """The image with one half of it empty, and with the other, along each of its last two axes."""
    halves: list[Image] = []
    for axis in range(1, min(image.ndim, 3)):
        for first in (True, False):
            half = image.clone()
            middle = image.shape[axis] // 2
            half.narrow(axis, 0 if first else middle, middle).zero_()
            halves.append(half)
    return torch.stack(halves)


# ── batches ──────────────────────────────────────────────────────────────────────────────────


class Batches:
    """Slices of at most `size`, halved whenever the work on one runs out of memory."""

    def __init__(self, size: int) -> None:
        self.size = size

    def over(self, total: int, work: Callable[[slice], T]) -> Iterator[T]:
        start = 0
        while start < total:
            part = slice(start, min(start + self.size, total))
            try:
                with memory_errors_translated():
                    result = work(part)
            except MemoryShortage as shortage:
                self.size = (part.stop - part.start) // 2
                if self.size == 0:
                    raise MemoryShortage(
                        "Memory ran out on a single masked image.",
                        do="Use a smaller input, a smaller model, or another device.",
                    ) from shortage
                continue
            yield result
            start = part.stop

    def of(self, model: Model) -> Callable[[Images], BatchedScores]:
        """What asks the model itself about a few images, in batches that fit."""
        return lambda images: torch.cat(
            list(self.over(len(images), lambda part: model.scores(images[part])))
        )


def first_batch_size(asked: BatchSize, images: Images) -> int:
    """The batch size to start from: the user's, or about the memory of 32 photos of 224 × 224."""
    if isinstance(asked, str) and asked == "auto":
        photos = 128 if images.is_cuda else 32
        return max(1, min(256, photos * 224**2 // math.prod(images.shape[2:])))
    if not BATCH_SIZE.holds(asked):
        raise SettingError(
            f"batch_size={quoted(asked)} is not a whole number of at least 1 and at most "
            f"{BATCH_SIZE.most:,}, or 'auto'.",
            do="Leave it out: memory is found out about as it goes.",
        )
    return int(asked)
