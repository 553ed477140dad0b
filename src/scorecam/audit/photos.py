"""The input of the rules: every photo of a run, and its photos by class."""

from __future__ import annotations

from dataclasses import dataclass

from scorecam.audit.item import Item
from scorecam.audit.photos_by_class import PhotosByClass
from scorecam.audit.place_tests import ClassShares, PlaceTest, class_shares, significant_places
from scorecam.base.cached_property import cached_property


@dataclass(frozen=True, eq=False)
class Photos:
    """A run's photos.

    Args:
        items: every photo.
        classes: the photos that rules compare, by class.
    """

    items: tuple[Item, ...]
    classes: PhotosByClass

    @cached_property
    def shares(self) -> tuple[ClassShares, ...]:
        """The shares of each class's maps in the named regions, and those of other classes."""
        return tuple(class_shares(self.classes))

    @cached_property
    def places(self) -> tuple[PlaceTest, ...]:
        """The strongest significant place of each class, and of all photos together.

        Several rules use these tests, which are corrected as one family.
        """
        return significant_places(self.classes, self.shares)
