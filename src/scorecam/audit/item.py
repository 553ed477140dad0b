"""One photo of a run, as values that were checked when they were read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from scorecam.audit.geometry import Box, Map, around, inside, share
from scorecam.base.cached_property import cached_property


@dataclass(frozen=True)
class ModelClass:
    """One of the model's classes, as a record of the run has it.

    Args:
        index: its index in the model's output.
        name: its name; None if the model has no names.
        probability: in [0, 1]; None if the model gives none.
    """

    index: int
    name: str | None
    probability: float | None

    @property
    def title(self) -> str:
        """Its name, or its index."""
        return self.name or f"class {self.index}"


@dataclass(frozen=True)
class Annotation:
    """An annotated object, at least partly inside the model's input."""

    label: str
    box: Box


@dataclass(frozen=True, eq=False)
class ClassMaps:
    """The maps of one class in a gallery entry.

    Args:
        model_class: the class.
        roles: any of "label", "predicted" and "target".
        maps: by view.
    """

    model_class: ModelClass
    roles: tuple[str, ...]
    maps: Mapping[str, Map]


@dataclass(frozen=True, eq=False)
class GalleryEntry:
    """The entry of one photo in a run's gallery.

    Args:
        jpeg: the model's input; None if it was not kept.
        class_maps: at most five classes.
        contrast: for a wrong prediction, the evidence for it rather than for the label.
        health: the map's health notes, as sentences.
        error: estimated error of a map from a reduced budget, as a share of its range; None if
            unknown.
        annotations: all annotated objects; None if the photo is not annotated.
    """

    jpeg: bytes | None
    class_maps: tuple[ClassMaps, ...]
    contrast: Map | None
    health: tuple[str, ...]
    error: float | None
    annotations: tuple[Annotation, ...] | None

    def by_role(self, role: str) -> ClassMaps | None:
        """The maps of the class with the role "label", "predicted" or "target", if any."""
        return next((maps for maps in self.class_maps if role in maps.roles), None)


@dataclass(frozen=True, eq=False)
class Item:
    """One photo as explained by one method.

    Args:
        id: the photo's id in the run.
        name: the photo's path in the data set.
        label: its class, as the data set names it; None if unknown.
        target: the explained class.
        predicted: the predicted class.
        right: whether the prediction is the label; None if this is unknown.
        map: the target's map, without negative values.
        values: the run's measurements by name.
        entry: its gallery entry, if there is one.
        others: the target's maps by the run's other methods.
        view: the method's variant, by which the gallery names its maps; None for methods other than
            Score-CAM.
    """

    id: str
    name: str
    label: str | None
    target: ModelClass
    predicted: ModelClass
    right: bool | None
    map: Map
    values: Mapping[str, float]
    entry: GalleryEntry | None = None
    others: Mapping[str, Map] = field(default_factory=dict[str, Map])
    view: str | None = None

    @property
    def grid(self) -> tuple[int, int]:
        """The map's rows and columns."""
        return self.map.shape[0], self.map.shape[1]

    @property
    def flat(self) -> bool:
        """Whether the map is zero everywhere."""
        return not float(self.map.sum()) > 0

    @property
    def annotations(self) -> tuple[Annotation, ...] | None:
        """All annotated objects; None if the photo is not annotated."""
        return None if self.entry is None else self.entry.annotations

    def boxes(self, label: str | None) -> list[Box]:
        """The annotated boxes of one class."""
        return [each.box for each in self.annotations or () if each.label == label]

    @property
    def other_objects(self) -> list[Annotation]:
        """The annotated objects of classes other than the label."""
        return [each for each in self.annotations or () if each.label != self.label]

    @cached_property
    def object(self) -> Map | None:
        """The share of each cell inside boxes of the label; None without boxes."""
        boxes = self.boxes(self.label)
        return inside(boxes, self.grid) if boxes else None

    @cached_property
    def object_cells(self) -> Map | None:
        """The cells that a map of the labelled object can cover; None without boxes."""
        boxes = self.boxes(self.label)
        return around(boxes, self.grid) if boxes else None

    @cached_property
    def outside(self) -> Map | None:
        """The cells that are not in `object_cells`; None without boxes."""
        return None if self.object_cells is None else 1.0 - self.object_cells

    @cached_property
    def energy(self) -> tuple[float, float] | None:
        """The map's share on the labelled object and that of a uniform map; None if unknown.

        The run's own measurement if there is one, by the mask rather than the box; otherwise
        computed from the boxes and the map's cells.
        """
        for kind in ("mask", "box"):
            energy, chance = self.values.get(f"energy_{kind}"), self.values.get(f"chance_{kind}")
            if energy is not None and chance is not None:
                return energy, chance
        if self.object is None or self.flat:
            return None
        return share(self.map, self.object), float(self.object.mean())

    def map_of(self, role: str) -> Map | None:
        """The method's map of the "predicted" class or of the "label"; None if there is none.

        From the record if it explains that class, otherwise from the gallery.
        """
        explained = self.predicted.index == self.target.index
        if role == "label" and self.right is False:
            explained = not explained  # a run explains one of the two
        if explained and (role == "predicted" or self.right is not None):
            return self.map
        return self.gallery_map(role)

    def gallery_map(self, role: str) -> Map | None:
        """The method's map of a class in the gallery; None if there is none."""
        class_maps = None if self.entry is None else self.entry.by_role(role)
        if class_maps is None or self.view is None:
            return None
        return class_maps.maps.get(self.view)
