"""The first side of a comparison and another: photo by photo, class by class, and failed gates."""

from __future__ import annotations

from dataclasses import dataclass

from scorecam.base.wording import constructor, excerpt
from scorecam.metrics.statistics import Interval, wilson
from scorecam.runs.record import ClassScore


@dataclass(frozen=True)
class PhotoChange:
    """One photo on the first side and on another.

    Args:
        similarity: Pearson correlation of the two maps; 0 if one of them is constant; None if both
            are, or if the sides explain different classes or boxes.
        flipped: whether the sides predict different classes; with a task, whether they explain
            different boxes, or the other side does not find the object.
        focus: the energy in the object on each side; None if it is unknown.
        predicted: the predicted class of each side; None for an object that it does not find.
        right: whether each side's prediction is the label; None without a label.
        label: the photo's class in the data set, as text.
    """

    id: str
    name: str
    similarity: float | None
    flipped: bool
    focus: tuple[float | None, float | None]
    predicted: tuple[ClassScore, ClassScore | None] | None = None
    right: tuple[bool | None, bool | None] = (None, None)
    label: str | None = None

    __repr__ = constructor


@dataclass(frozen=True)
class ClassChange:
    """The photos of one class on the first side and on another.

    Args:
        name: the label of the photos, or the first side's prediction if they have none.
        flips: the share of photos with different predictions.
        similarity: of the maps.
        accuracy: the gain in accuracy: other minus first.
    """

    name: str
    photos: int
    flips: Interval
    similarity: Interval
    accuracy: Interval

    __repr__ = constructor


@dataclass(frozen=True)
class Versus:
    """The first side compared with another.

    Args:
        other: the name of the other side.
        similarity: of maps of the same class.
        undefined: photos without a similarity.
        agreement: the share of photos with the same prediction.
        focus: the gain in the energy in the object: other minus first.
        photos: different predictions first, then the least similar maps.
        classes: the class that changed most first.
    """

    other: str
    similarity: Interval
    undefined: int
    agreement: Interval
    focus: Interval
    photos: tuple[PhotoChange, ...]
    classes: tuple[ClassChange, ...] = ()

    __repr__ = constructor

    @property
    def flipped(self) -> tuple[PhotoChange, ...]:
        """The photos with different predictions, the least similar maps first."""
        return tuple(photo for photo in self.photos if photo.flipped)

    @property
    def flips(self) -> Interval:
        """The share of photos with different predictions, with Wilson's interval."""
        return wilson(len(self.flipped), len(self.photos))

    @property
    def by_similarity(self) -> tuple[PhotoChange, ...]:
        """The photos with a similarity, the least similar maps first."""
        known = [(photo.similarity, photo) for photo in self.photos if photo.similarity is not None]
        return tuple(photo for _, photo in sorted(known, key=lambda pair: pair[0]))


@dataclass(frozen=True)
class FailedGate:
    """A number of one side that is below its limit, or unknown.

    Args:
        side: the name of the side.
        gate: the name of the number.
        value: None if it is unknown.
        least: the least accepted value.
        photo: for the least similarity, the photo's name.
    """

    side: str
    gate: str
    value: float | None
    least: float
    photo: str = ""

    __repr__ = constructor

    @property
    def sentence(self) -> str:
        """The failure in words, without a full stop."""
        side = excerpt(self.side, 200)
        if self.value is None:
            what = f"{self.gate} is unknown, and the gate requires at least {self.least:g}"
            return f"{side}: {what}"
        rounded = f"{self.value:.4g}"
        value = rounded if float(rounded) < self.least else repr(self.value)
        photo = f" ({excerpt(self.photo, 120)})" if self.photo else ""
        return f"{side}: {self.gate} is {value}{photo}, below {self.least:g}"
