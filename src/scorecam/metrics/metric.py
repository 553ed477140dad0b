"""The interface of all metrics: their input, their outcomes, and the base class."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Literal

from torch import Tensor

from scorecam.base.cached_property import cached_property
from scorecam.base.wording import constructor, excerpt, summary
from scorecam.errors import SettingError
from scorecam.shapes import Columns, Heatmap, Image, Images

Boxes = Annotated[Tensor, "m 4"]
"""x1 y1 x2 y2, in pixels of the input, float32; pixel i covers [i, i + 1)."""

Better = Literal["higher", "lower", "neither"]
Bounds = Literal["fraction", "probability", "none"]


@dataclass(frozen=True)
class Truth:
    """Where the object is, in pixels of the input.

    Args:
        boxes: of the explained class, `m 4`; None if they are unknown.
        mask: of the explained class, `h w` bool; None if it is unknown.
        why: why they are unknown, as a sentence.
    """

    boxes: Boxes | None = None
    mask: Annotated[Tensor, "h w"] | None = None
    why: str = "No box or mask for this object."

    __repr__ = constructor


@dataclass(frozen=True, eq=False)
class Seen:
    """The input of a metric: one heatmap, and everything that a metric may use.

    Args:
        heatmap: `*i`, not scaled; larger is more important. It may come from any library.
        image: `c *i`, preprocessed, on the same device.
        ask: returns the probability of the explained column for images: `b c *i` to `b` float32.
        truth: where the object is.
        explain: returns the same method's heatmap of another image for the same column; None for
            maps without a method, such as maps from files.
        fill: the empty image, `c *i`; None for zeros, the training mean.
    """

    heatmap: Heatmap
    image: Image
    ask: Callable[[Images], Columns]
    truth: Truth = field(default_factory=Truth)
    explain: Callable[[Image], Heatmap] | None = None
    fill: Image | None = None

    __repr__ = constructor

    def __post_init__(self) -> None:
        if self.heatmap.shape != self.image.shape[1:]:
            raise SettingError(
                f"The heatmap has the shape {tuple(self.heatmap.shape)}, the image "
                f"{tuple(self.image.shape)}.",
                likely="It may be on the layer's grid, or belong to another photo.",
                do="Upsample it to the image's size first, as scorecam.cam.upsample does.",
            )
        if not self.heatmap.isfinite().all():
            raise SettingError(
                "The heatmap contains NaN or infinity.", do="Check the method that made it."
            )

    @cached_property
    def probability(self) -> float:
        """p(X) of the explained column."""
        return float(self.ask(self.image[None])[0])

    @cached_property
    def canvas(self) -> Image:
        """The empty image."""
        return self.image.new_zeros(self.image.shape) if self.fill is None else self.fill


@dataclass(frozen=True)
class Outcome:
    """One number of a metric per image.

    Args:
        name: in `results.parquet`.
        better: the better direction; "neither" for a number that only helps to interpret others.
        title: in tables.
        bounds: "fraction": in [0, 1]; "probability": in [0, 1] if the model gives probabilities;
            "none". Records with values out of bounds count as damaged.
    """

    name: str
    better: Better
    title: str
    bounds: Bounds = "probability"


@dataclass(frozen=True)
class Measured:
    """The outcomes of a metric for one image.

    Args:
        values: by outcome.
        undefined: by outcome, the reason why it has no value.
        curves: by name, for plots.
    """

    values: Mapping[str, float] = field(default_factory=dict[str, float])
    undefined: Mapping[str, str] = field(default_factory=dict[str, str])
    curves: Mapping[str, list[float]] = field(default_factory=dict[str, list[float]])


class Metric(ABC):
    """A metric of one heatmap.

    To add one, write a class and add it to `METRICS` in `names.py`.

    Attributes:
        name: as users write it.
        outcomes: its numbers per image.
        source: the paper that defines it, and the settings.
    """

    name: str
    outcomes: tuple[Outcome, ...]
    source: str

    @summary
    def __repr__(self) -> Iterator[str]:
        yield excerpt(self.name)
        yield from (outcome.name for outcome in self.outcomes)

    @abstractmethod
    def measure(self, seen: Seen) -> Measured:
        """The outcomes for one heatmap: a value, or the reason why it is undefined."""
