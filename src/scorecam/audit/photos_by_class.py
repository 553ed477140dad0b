"""Photos by class, and what classes are called."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from scorecam.audit.item import Annotation, Item, ModelClass
from scorecam.audit.map_clusters import Cluster, clusters
from scorecam.audit.thresholds import MIN_PHOTOS
from scorecam.base.once import cached_property


@dataclass(frozen=True, eq=False)
class ClassPhotos:
    """The photos of one class whose maps can be compared.

    Args:
        title: the model's name of it; with its number where another class has the same name.
        items: those the model gets right; where no label is known, those it takes for the class.
    """

    title: str
    items: tuple[Item, ...]

    @cached_property
    def clusters(self) -> tuple[Cluster, ...]:
        """The groups that their maps fall into."""
        return clusters(self.items)

    @property
    def photos(self) -> str:
        """What they are, for a sentence."""
        if all(item.right for item in self.items):
            return f"right photos of {self.title!r}"
        if all(item.label is None for item in self.items):
            return f"unlabelled photos of {self.title!r}"
        return f"photos taken for {self.title!r}"

    def some(self, count: int) -> str:
        """So many of them, for a sentence."""
        among = f"{count} of " if count < len(self.items) else ""
        return f"{among}{len(self.items)} {self.photos}"


@dataclass(frozen=True, eq=False)
class PhotosByClass:
    """A run's photos by class.

    Args:
        all: every class with a usable photo, by title.
        columns: the model's number of each label of the data set, where a photo tells it.
        titles: of the model's classes, by number.
    """

    all: tuple[ClassPhotos, ...]
    columns: Mapping[str, int]
    titles: Mapping[int, str]

    def title(self, label: str | None) -> str:
        """A label by the name people know."""
        if label is None:
            return ""
        return self.titles[self.columns[label]] if label in self.columns else label

    def named(self, column: ModelClass) -> str:
        """A class of the model by a name that no other class has."""
        return self.titles.get(column.index, column.title)

    def shows(self, thing: Annotation, column: ModelClass) -> bool:
        """Whether an annotated object is of a class of the model."""
        known = self.columns.get(thing.label)
        return thing.label == column.name if known is None else known == column.index

    @property
    def large(self) -> tuple[ClassPhotos, ...]:
        """Those with enough photos to be tested."""
        return tuple(each for each in self.all if len(each.items) >= MIN_PHOTOS)

    @property
    def items(self) -> tuple[Item, ...]:
        """Every usable photo."""
        return tuple(item for each in self.all for item in each.items)

    def others(self, own: ClassPhotos) -> tuple[Item, ...]:
        """The photos of all other classes."""
        return tuple(item for each in self.all if each is not own for item in each.items)


def by_class(items: Sequence[Item]) -> PhotosByClass:
    """The photos that rules compare: right, or of unknown label; their maps are not flat.

    They are grouped by the class that the model takes them for, with or without a label.
    """
    titles = _titles(items)
    groups: dict[int, list[Item]] = {}
    for item in items:
        if not item.flat and item.right is not False:
            groups.setdefault(item.predicted.index, []).append(item)
    found = [ClassPhotos(titles[index], tuple(group)) for index, group in groups.items()]
    found.sort(key=lambda each: each.title)
    return PhotosByClass(tuple(found), _columns(items), titles)


def _titles(items: Sequence[Item]) -> dict[int, str]:
    """The model's names, with the number of those that several classes have ("crane (517)")."""
    names: dict[int, str] = {}
    for column in (column for item in items for column in _seen(item)):
        names.setdefault(column.index, column.title)
    times = Counter(names.values())
    return {
        index: f"{name} ({index})" if times[name] > 1 else name for index, name in names.items()
    }


def _seen(item: Item) -> Iterator[ModelClass]:
    yield item.predicted
    yield item.target
    yield from () if item.entry is None else (seen.model_class for seen in item.entry.class_maps)


def _columns(items: Sequence[Item]) -> dict[str, int]:
    """The model's number of each label of the data set, where one photo tells it."""
    found: dict[str, int] = {}
    for item in items:
        if item.label is None:
            continue
        seen = None if item.entry is None else item.entry.by_role("label")
        if item.right:
            found[item.label] = item.predicted.index
        elif item.right is False and item.target.index != item.predicted.index:
            found.setdefault(item.label, item.target.index)
        elif seen is not None:
            found.setdefault(item.label, seen.model_class.index)
    return found
