"""A way of scoring masked images, and what chooses it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, get_args

import torch

from scorecam.base.wording import constructor
from scorecam.io.arguments import choice
from scorecam.shapes import BatchedScores, Image, Images

Runtime = Literal["auto", "eager", "compile", "openvino"]
Precision = Literal["float32", "bfloat16", "float16", "auto"]

RUNTIMES: tuple[str, ...] = get_args(Runtime)
PRECISIONS: tuple[str, ...] = get_args(Precision)


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


@dataclass(frozen=True)
class Probe:
    """A few masked images, by which a fast way of scoring shows that it agrees with the model.

    Args:
        image: the unmasked image, `c *i`.
        masked: makes the rest of the probe, `b c *i`, where it is needed.
        passes: masked images that are to be scored, about.
        seconds: what one image took the model itself.
        distance: the largest difference between the scaled heatmaps that two answers lead to, each
            to the masked images and then the image, `b+1 n`.
    """

    image: Image
    masked: Callable[[], Images]
    passes: int
    seconds: float
    distance: Callable[[BatchedScores, BatchedScores], float]

    __repr__ = constructor


@dataclass(frozen=True)
class Engine:
    """A way of scoring masked images.

    Args:
        scores: `b c *i` → `b n` float32, of any `b` up to `batch`.
        runtime: what runs.
        precision: what it computes in.
        batch: images per pass that suit it; None where any number does.
        layout: how the images should lie in memory.
        beside: threads that torch may use while masked images are made; None where any number
            will do. Those of a runtime and torch's, which go on waiting, get in each other's way.
        probed: passes of the model itself that it took to choose it.
        remarks: what the user should hear of: why it is not what was asked for. It may grow while
            the engine is in use.
    """

    scores: Callable[[Images], BatchedScores]
    runtime: str
    precision: str
    batch: int | None = None
    layout: torch.memory_format = torch.contiguous_format
    beside: int | None = None
    probed: int = 0
    remarks: list[str] = field(default_factory=list[str])

    __repr__ = constructor
