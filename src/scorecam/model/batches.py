"""Batches that fit into memory; they are halved when memory runs out."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Literal, TypeVar

import torch

from scorecam.base.wording import quoted
from scorecam.errors import MemoryShortage, SettingError
from scorecam.io.ranges import BATCH_SIZE
from scorecam.model.model import Model
from scorecam.model.shortage import memory_errors_translated
from scorecam.shapes import BatchedScores, Images

BatchSize = int | Literal["auto"]

T = TypeVar("T")


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
        """A function that scores a few images with the model itself, in batches that fit."""
        return lambda images: torch.cat(
            list(self.over(len(images), lambda part: model.scores(images[part])))
        )


def first_batch_size(batch_size: BatchSize, images: Images) -> int:
    """The user's batch size, or one that takes the memory of about 32 photos of 224 × 224."""
    size = check_batch_size(batch_size)
    if size != "auto":
        return size
    photos = 128 if images.is_cuda else 32
    return max(1, min(256, photos * 224**2 // math.prod(images.shape[2:])))


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
