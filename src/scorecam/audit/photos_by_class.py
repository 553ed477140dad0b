"""The photos of a run by class, and the names of classes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from scorecam.audit.item import Annotation, Item, ModelClass
from scorecam.audit.map_clusters import Cluster, clusters
from scorecam.audit.thresholds import MIN_PHOTOS
from scorecam.base.cached_property import cached_property


@dataclass(frozen=True, eq=False)
class ClassPhotos:
    """The photos of one class that rules compare.

    Args:
        title: the model's name for it; with its index if another class has the same name.
        items: the photos predicted as the class, without those known to be wrong.
    """

    title: str
    items: tuple[Item, ...]

    @cached_property
    def clusters(self) -> tuple[Cluster, ...]:
        """The clusters of their maps."""
        return clusters(self.items)

    @property
    def photos(self) -> str:
        """The photos as a phrase, such as "unlabelled photos of 'ant'"."""
        if all(item.right for item in self.items):
            return f"correctly classified photos of {self.title!r}"
        if all(item.label is None for item in self.items):
            return f"unlabelled photos of {self.title!r}"
        return f"photos predicted as {self.title!r}"

    def some(self, count: int) -> str:
        """Some of the photos as a phrase: "19 of 20 photos predicted as 'ant'"."""
        among = f"{count} of " if count < len(self.items) else ""
        return f"{among}{len(self.items)} {self.photos}"


@dataclass(frozen=True, eq=False)
class PhotosByClass:
    """A run's photos by class.

    Args:
        all: every class with a usable photo, by title.
        indices: the model's index of each label of the data set, where a photo shows which it is.
        titles: the titles of the model's classes, by index.
    """

    all: tuple[ClassPhotos, ...]
    indices: Mapping[str, int]
    titles: Mapping[int, str]

    def title(self, label: str | None) -> str:
        """The title of a label."""
        if label is None:
            return ""
        return self.titles[self.indices[label]] if label in self.indices else label

    def named(self, model_class: ModelClass) -> str:
        """The title of a class of the model."""
        return self.titles.get(model_class.index, model_class.title)

    def shows(self, annotation: Annotation, model_class: ModelClass) -> bool:
        """Whether an annotated object belongs to a class of the model."""
        known = self.indices.get(annotation.label)
        if known is None:
            return annotation.label == model_class.name
        return known == model_class.index

    @property
    def large(self) -> tuple[ClassPhotos, ...]:
        """The classes with enough photos to be tested."""
        return tuple(each for each in self.all if len(each.items) >= MIN_PHOTOS)

    @property
    def items(self) -> tuple[Item, ...]:
        """Every usable photo."""
        return tuple(item for each in self.all for item in each.items)

    def others(self, own: ClassPhotos) -> tuple[Item, ...]:
        """The photos of all other classes."""
        return tuple(item for each in self.all if each is not own for item in each.items)


def by_class(items: Sequence[Item]) -> PhotosByClass:
    """Group photos by predicted class, without wrong predictions and flat maps."""
    titles = _titles(items)
    groups: dict[int, list[Item]] = {}
    for item in items:
        if not item.flat and item.right is not False:
            groups.setdefault(item.predicted.index, []).append(item)
    classes = [ClassPhotos(titles[index], tuple(group)) for index, group in groups.items()]
    classes.sort(key=lambda group: group.title)
    return PhotosByClass(tuple(classes), _indices(items), titles)


def _titles(items: Sequence[Item]) -> dict[int, str]:
    """The model's names; a name of several classes gets the index, as in "crane (517)"."""
    names: dict[int, str] = {}
    for model_class in (each for item in items for each in _classes_of(item)):
        names.setdefault(model_class.index, model_class.title)
    times = Counter(names.values())
    return {
        index: f"{name} ({index})" if times[name] > 1 else name for index, name in names.items()
    }


def _classes_of(item: Item) -> Iterator[ModelClass]:
    yield item.predicted
    yield item.target
    yield from () if item.entry is None else (each.model_class for each in item.entry.class_maps)


def _indices(items: Sequence[Item]) -> dict[str, int]:
    """The model's index of each label of the data set, where a photo shows which it is."""
    indices: dict[str, int] = {}
    for item in items:
        if item.label is None:
            continue
        labelled = None if item.entry is None else item.entry.by_role("label")
        if item.right:
            indices[item.label] = item.predicted.index
        elif item.right is False and item.target.index != item.predicted.index:
            indices.setdefault(item.label, item.target.index)
        elif labelled is not None:
            indices.setdefault(item.label, labelled.model_class.index)
    return indices
