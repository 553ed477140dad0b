"""Batches that fit into memory; they are halved when memory runs out."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Literal, TypeVar

import torch

from scorecam.base.wording import quoted
from scorecam.errors import MemoryShortage, SettingError
from scorecam.io.ranges import BATCH_SIZE
from scorecam.model.model import Model
from scorecam.model.shortage import memory_errors_translated
from scorecam.shapes import Activations, BatchedScores, Images

BatchSize = int | Literal["auto"]

T = TypeVar("T")


class Batches:
    """Slices of at most `size`, halved whenever the work on one runs out of memory.

    Attributes:
        size: the most in a slice from now on.
        halved: whether memory has run out.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.halved = False

    def prefer(self, size: int) -> None:
        """Take another size, but no larger one if memory has run out."""
        self.size = min(self.size, size) if self.halved else size

    def over(self, total: int, work: Callable[[slice], T]) -> Iterator[T]:
        start = 0
        while start < total:
            part = slice(start, min(start + self.size, total))
            try:
                with memory_errors_translated():
                    result = work(part)
            except MemoryShortage as shortage:
                self.size, self.halved = (part.stop - part.start) // 2, True
                if self.size == 0:
                    raise MemoryShortage(
                        "Memory ran out on a single masked image.",
                        do="Use a smaller input, a smaller model, or another device.",
                    ) from shortage
                continue
            yield result
            start = part.stop

    def of(self, model: Model) -> Callable[[Images], BatchedScores]:
        """A function that scores a few images with the model itself, in batches that fit."""
        return lambda images: torch.cat(
            list(self.over(len(images), lambda part: model.scores(images[part])))
        )


PHOTOS = {"cpu": 8, "cuda": 128}
"""Photos of 224 × 224 in a batch, by the kind of device; 32 on others.

On a processor, larger batches are no faster: their activations no longer fit into memory that the
C library keeps, so the kernel has to clear new memory for every layer (docs/design.md).
"""

LAYER_BYTES = 2**25
"""The most memory of the explained layer's activations in a batch on a processor, 32 MiB."""


def first_batch_size(batch_size: BatchSize, images: Images) -> int:
    """The user's batch size, or one that suits the device and the size of the images."""
    size = check_batch_size(batch_size)
    if size != "auto":
        return size
    return photos_of(images.shape[2:], PHOTOS.get(images.device.type, 32))


def photos_of(size: Sequence[int], photos: int) -> int:
    """How many images of this size take the memory of some photos of 224 × 224; 1 to 256."""
    return max(1, min(256, photos * 224**2 // math.prod(size)))


def with_layer(size: int, activations: Activations) -> int:
    """A smaller batch size if the explained layer has many activations, `k *g`, for one image."""
    if activations.device.type != "cpu":
        return size
    each = activations.numel() * activations.element_size()
    return max(1, min(size, LAYER_BYTES // max(1, each)))


def check_batch_size(batch_size: BatchSize) -> BatchSize:
    """The user's batch size: "auto" or a whole number.

    Raises:
        SettingError: it is neither.
    """
    if isinstance(batch_size, str) and batch_size == "auto":
        return "auto"
    if not BATCH_SIZE.holds(batch_size):
        raise SettingError(
            f"batch_size={quoted(batch_size)} is not a whole number of at least 1 and at most "
            f"{BATCH_SIZE.most:,}, or 'auto'.",
            do="Leave it out: the batch size adapts to memory.",
        )
    return int(batch_size)
