"""Photos by class, and what classes are called."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from scorecam.audit.items import Item
from scorecam.audit.rules import LEAST


@dataclass(frozen=True, eq=False)
class Class:
    """The photos of one class whose maps can be compared.

    Args:
        title: the model's name of it, or the data set's.
        items: those the model gets right; where no label is known, those it takes for the class.
        known: whether their labels are.
    """

    title: str
    items: tuple[Item, ...]
    known: bool

    @property
    def photos(self) -> str:
        """What they are, for a sentence."""
        return f"{'right' if self.known else 'unlabelled'} photos of {self.title!r}"


@dataclass(frozen=True, eq=False)
class Classes:
    """A run's photos by class.

    Args:
        all: every class with a usable photo, by title.
        titles: of the data set's labels.
    """

    all: tuple[Class, ...]
    titles: dict[str, str]

    def title(self, label: str) -> str:
        """A label by the name people know."""
        return self.titles.get(label, label)

    @property
    def large(self) -> tuple[Class, ...]:
        """Those with enough photos to be tested."""
        return tuple(each for each in self.all if len(each.items) >= LEAST)

    @property
    def items(self) -> tuple[Item, ...]:
        """Every usable photo."""
        return tuple(item for each in self.all for item in each.items)

    def others(self, own: Class) -> tuple[Item, ...]:
        """The photos of all other classes."""
        return tuple(item for each in self.all if each is not own for item in each.items)


def by_class(items: Sequence[Item]) -> Classes:
    """The photos that rules compare: right, or of unknown label; their maps are not flat."""
    titles = _titles(items)
    groups: dict[tuple[str, bool], list[Item]] = {}
    for item in items:
        if item.flat or item.right is False:
            continue
        known = item.right is True and item.label is not None
        title = titles.get(item.label or "", item.label or "") if known else item.predicted.title
        groups.setdefault((title, known), []).append(item)
    found = [Class(title, tuple(group), known) for (title, known), group in groups.items()]
    return Classes(tuple(sorted(found, key=lambda each: (each.title, not each.known))), titles)


def _titles(items: Sequence[Item]) -> dict[str, str]:
    """The model's name of each label of the data set, where one photo tells it."""
    found: dict[str, str] = {}
    for item in items:
        if item.label is None:
            continue
        if item.right and item.predicted.name:
            found[item.label] = item.predicted.name
            continue
        seen = None if item.entry is None else item.entry.role("label")
        if seen is not None and seen.column.name:
            found.setdefault(item.label, seen.column.name)
    return found
