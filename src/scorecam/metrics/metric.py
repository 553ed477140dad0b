"""What a measure is given, and what it gives back."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Literal

from torch import Tensor

from scorecam.base.once import cached_property
from scorecam.base.wording import constructor, excerpt, summary
from scorecam.errors import SettingError
from scorecam.shapes import Columns, Heatmap, Image, Images

Boxes = Annotated[Tensor, "m 4"]
"""x1 y1 x2 y2, in pixels of the input, float32; pixel i covers [i, i + 1)."""

Better = Literal["higher", "lower", "neither"]


@dataclass(frozen=True)
class Truth:
    """Where the object is, in pixels of the input; None where nobody said.

    Args:
        boxes: of the explained class, `m 4`.
        mask: of the explained class, `h w` bool.
        why: why there are none, as a sentence.
    """

    boxes: Boxes | None = None
    mask: Annotated[Tensor, "h w"] | None = None
    why: str = "The data set says not where the object is."

    __repr__ = constructor


@dataclass(frozen=True, eq=False)
class Seen:
    """One heatmap, and everything it may be judged by.

    Args:
        heatmap: `*i`, raw, larger is more important; any library's.
        image: `c *i`, preprocessed, on the same device.
        ask: the probability of the explained column for any images: `b c *i` to `b` float32.
        truth: where the object is.
        explain: the same method's heatmap of another image for the same column; None where it
            cannot be had, as for maps that were read from files.
        fill: what an empty image is, `c *i`; None for zeros, the training mean.
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
                likely="It may be on the layer's grid, or of another photo.",
                do="Bring it to the image's size first, as scorecam.cam.upsample does.",
            )
        if not self.heatmap.isfinite().all():
            raise SettingError(
                "The heatmap holds NaN or infinity.", do="Look at the method that made it."
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
    """One number that a measure yields per image.

    Args:
        name: as in `results.parquet`.
        better: which way is better; "neither" for what only helps to read the others.
        title: as in tables.
    """

    name: str
    better: Better
    title: str


@dataclass(frozen=True)
class Measured:
    """What a measure found for one image.

    Args:
        values: by outcome.
        undefined: by outcome, why it has no value.
        curves: by name, what plots are made of.
    """

    values: Mapping[str, float] = field(default_factory=dict[str, float])
    undefined: Mapping[str, str] = field(default_factory=dict[str, str])
    curves: Mapping[str, list[float]] = field(default_factory=dict[str, list[float]])


class Metric(ABC):
    """A measure of one heatmap.

    Attributes:
        name: as users write it.
        outcomes: the numbers it yields.
        source: whose protocol, and every setting of it.
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
        """The outcomes for one heatmap. What has no value is said to be undefined, and why."""
