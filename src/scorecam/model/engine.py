"""A way of scoring masked images, and what chooses it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field

import torch

from scorecam.base.wording import constructor
from scorecam.io.arguments import choice
from scorecam.model.runtimes import PRECISIONS, RUNTIMES, Precision, Runtime
from scorecam.shapes import BatchedScores, Image, Images


@dataclass(frozen=True)
class Speed:
    """How masked images may be scored.

    Args:
        runtime: what runs the model; "auto" chooses among those that agree with it.
        precision: what it computes in; "auto" takes the fastest whose map stays close.
    """

    runtime: Runtime = "auto"
    precision: Precision = "float32"

    __repr__ = constructor

    def __post_init__(self) -> None:
        choice("runtime", self.runtime, RUNTIMES)
        choice("precision", self.precision, PRECISIONS)


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
        """The images of the probe besides `image`, `b c *i`; made when they are needed."""

    @abstractmethod
    def distance(self, one: BatchedScores, other: BatchedScores) -> float:
        """The largest difference between the results of two sets of scores, `b+1 n`.

        The scores are those of the masked images, then of `image`.
        """


@dataclass(frozen=True)
class Engine:
    """A way of scoring masked images.

    Args:
        scores: `b c *i` → `b n` float32, of any `b` up to `batch`.
        runtime: what runs.
        precision: what it computes in.
        batch: images per pass that suit it; None where any number does.
        layout: how the images should lie in memory.
        mask_threads: threads that torch may use while masked images are made; None for any number.
            Idle threads of torch keep waiting and slow down those of a runtime.
        probed: passes of the model itself that it took to choose it.
        remarks: what the user should hear of: why it is not what was asked for. It may grow while
            the engine is in use.
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
