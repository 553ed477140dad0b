"""Engines score masked images; a probe decides whether an engine is good enough."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field

import torch

from scorecam.base.wording import constructor
from scorecam.shapes import BatchedScores, Image, Images

USUAL_PRECISION = "float32"
"""The default precision. A model that computes in another one keeps its own."""


@dataclass(frozen=True)
class Speed:
    """The runtime and the precision that a user chose.

    The names are those that a model offers; `check_offered` refuses others.

    Args:
        runtime: what runs the model; "auto" for the fastest that agrees with it.
        precision: the number format; "auto" for the fastest whose map stays close.
    """

    runtime: str = "auto"
    precision: str = USUAL_PRECISION

    __repr__ = constructor


class Probe(ABC):
    """A few images, on which a fast runtime is compared with the model.

    Attributes:
        image: the unmasked image, `c *i`.
        passes: about how many images will be scored.
        seconds: the time the model itself takes for one image.
    """

    image: Image
    passes: int
    seconds: float

    @abstractmethod
    def masked(self) -> Images:
        """The masked images of the probe, without `image`, `b c *i`; made on demand."""

    def typical(self, count: int) -> Images:
        """This number of images like those that will be scored, `b c *i`."""
        images = torch.cat([self.image[None], self.masked()])
        return images[torch.arange(count) % len(images)]

    @abstractmethod
    def distance(self, one: BatchedScores, other: BatchedScores) -> float:
        """The largest difference between the results of two sets of scores, `b+1 n`.

        The scores are those of the masked images, then of `image`.
        """


@dataclass(frozen=True)
class Engine:
    """Scores masked images in one runtime and precision.

    An engine belongs to one thread: it is made for one call, and used by that call alone.

    Args:
        scores: `b c *i` → `b n` float32, for any `b` up to `batch`.
        runtime: the name of the runtime.
        precision: the number format.
        batch: the best number of images per pass; None for any number.
        layout: the memory layout of the images.
        mask_threads: threads that torch may use while masked images are made; None for any number.
            Idle threads of torch keep waiting and slow down those of a runtime.
        probed: passes of the model itself that were needed to choose the engine.
        remarks: sentences for the user: why the runtime that was chosen is not used. `scores` adds
            one when the runtime fails, so read them after the last pass.
    """

    scores: Callable[[Images], BatchedScores]
    runtime: str
    precision: str
    batch: int | None = None
    layout: torch.memory_format = torch.contiguous_format
    mask_threads: int | None = None
    probed: int = 0
    remarks: list[str] = field(default_factory=list[str])

    __repr__ = constructor


@dataclass(frozen=True)
class MeasuredEngine:
    """A runtime and a precision, measured on a probe.

    Args:
        runtime: the name of the runtime.
        precision: the number format.
        seconds: per masked image; None if it cannot be used.
        distance: how far it moves the scaled heatmap of the probe; None if that is not finite.
        limit: how far it may move it.
        agrees: whether it stays within the limit.
        conversion_seconds: what the conversion took; None where none is needed.
        images_to_pay: masked images after which "auto" converts; None where that is not known.
        chosen: whether "auto" uses it once it is converted.
        why: why it is chosen, or why not.
    """

    runtime: str
    precision: str
    seconds: float | None
    distance: float | None
    limit: float
    agrees: bool
    conversion_seconds: float | None
    images_to_pay: int | None
    chosen: bool
    why: str

    __repr__ = constructor
