"""What an audit knows of one photo: plain values, checked when they were read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from scorecam.audit.regions import Box, Map, around, inside, share
from scorecam.base.once import cached_property


@dataclass(frozen=True)
class Column:
    """A class as the model has it.

    Args:
        probability: in [0, 1]; None where the model gives none.
    """

    index: int
    name: str | None
    probability: float | None

    @property
    def title(self) -> str:
        """Its name, or its number."""
        return self.name or f"class {self.index}"


@dataclass(frozen=True)
class Thing:
    """An annotated object of which something is in the model's input."""

    label: str
    box: Box


@dataclass(frozen=True, eq=False)
class Seen:
    """One class of a gallery's entry: its maps by view."""

    column: Column
    roles: tuple[str, ...]
    maps: Mapping[str, Map]


@dataclass(frozen=True, eq=False)
class Entry:
    """What a run's gallery holds of a photo.

    Args:
        jpeg: what the model saw; None where it is not kept.
        seen: at most five classes.
        contrast: of a wrong prediction, what speaks for it rather than for the label.
        health: sentences that speak against the map.
        error: how far a map of a reduced budget may be off, of its range; None where not known.
        things: all annotated objects; None where nobody annotated.
    """

    jpeg: bytes | None
    seen: tuple[Seen, ...]
    contrast: Map | None
    health: tuple[str, ...]
    error: float | None
    things: tuple[Thing, ...] | None

    def role(self, role: str) -> Seen | None:
        """The class with a role: "label", "predicted" or "target"."""
        return next((seen for seen in self.seen if role in seen.roles), None)


@dataclass(frozen=True, eq=False)
class Item:
    """One photo as one method explains it.

    Args:
        label: its class as the data set writes it; None where nobody said.
        right: whether the prediction is the label; None where that is not known.
        map: of the target, nowhere negative.
        values: what was measured.
        entry: of the gallery; None where there is none.
        others: the target's maps by the run's other methods.
        view: the variant that the method reads, so that maps of other classes can be told from
            those of other methods; None for methods other than Score-CAM.
    """

    id: str
    name: str
    label: str | None
    target: Column
    predicted: Column
    right: bool | None
    map: Map
    values: Mapping[str, float]
    entry: Entry | None = None
    others: Mapping[str, Map] = field(default_factory=dict[str, Map])
    view: str | None = None

    @property
    def grid(self) -> tuple[int, int]:
        """The map's cells, down and across."""
        return self.map.shape[0], self.map.shape[1]

    @property
    def flat(self) -> bool:
        """Whether the map is zero everywhere."""
        return not float(self.map.sum()) > 0

    @property
    def things(self) -> tuple[Thing, ...] | None:
        """All annotated objects; None where they are not known."""
        return None if self.entry is None else self.entry.things

    def boxes(self, label: str | None) -> list[Box]:
        """The boxes of one class, as far as objects are annotated."""
        return [thing.box for thing in self.things or () if thing.label == label]

    @property
    def beside(self) -> list[Thing]:
        """The annotated objects of other classes than the label."""
        return [thing for thing in self.things or () if thing.label != self.label]

    @cached_property
    def object(self) -> Map | None:
        """How much of each cell lies in the boxes of the label; None where there are none."""
        boxes = self.boxes(self.label)
        return inside(boxes, self.grid) if boxes else None

    @cached_property
    def near(self) -> Map | None:
        """The cells that a map of the labelled object can cover; None where it is not known."""
        boxes = self.boxes(self.label)
        return around(boxes, self.grid) if boxes else None

    @cached_property
    def outside(self) -> Map | None:
        """The cells that it cannot."""
        return None if self.near is None else 1.0 - self.near

    @cached_property
    def focus(self) -> tuple[float, float] | None:
        """The map's share on the labelled object, and that of an even map; None if not known.

        As the run measured it, with the mask where there is one; else on the grid, with the boxes.
        """
        for kind in ("mask", "box"):
            energy, chance = self.values.get(f"energy_{kind}"), self.values.get(f"chance_{kind}")
            if energy is not None and chance is not None:
                return energy, chance
        if self.object is None or self.flat:
            return None
        return share(self.map, self.object), float(self.object.mean())

    def map_of(self, role: str) -> Map | None:
        """The method's map of the "predicted" class or of the "label"; None where there is none.

        The record's where it is of that class, else the gallery's.
        """
        own = self.predicted.index == self.target.index
        if role == "label" and self.right is False:
            own = not own  # a run explains one of the two
        if own and (role == "predicted" or self.right is not None):
            return self.map
        return self.kept(role)

    def kept(self, role: str) -> Map | None:
        """The method's map of a class as the gallery has it; None where it has none."""
        seen = None if self.entry is None else self.entry.role(role)
        return None if seen is None or self.view is None else seen.maps.get(self.view)
