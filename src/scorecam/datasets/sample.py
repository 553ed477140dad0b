"""A photo of a data set with its annotations, and the data set itself."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy.typing as npt

from scorecam.base.wording import constructor, excerpt, quoted, summary
from scorecam.errors import ScorecamError

Label = str | int
"""A class as the data set names it: a WordNet id, a name, or an index."""

Box = tuple[float, float, float, float]
"""x1 y1 x2 y2, in pixels of the upright photo, continuous: pixel i covers [i, i + 1)."""

PhotoMask = Annotated[npt.NDArray[Any], "H W"]
"""True on the object, one bool per pixel of the photo."""


@dataclass(frozen=True)
class Thing:
    """An object in a photo.

    Args:
        label: its class.
        box: clipped to the photo, with an area above 0.
    """

    label: Label
    box: Box

    __repr__ = constructor


@dataclass(frozen=True, eq=False)
class Sample:
    """A photo of a data set, with its annotations.

    Args:
        name: its path relative to the data set's folder, with slashes; unique.
        path: of the photo's file.
        label: its class; None if it is unknown.
        things: the annotated objects; None if objects are not annotated.
        mask: reads the mask of the objects of `label`, or raises `DatasetError`; None without a
            mask.
        failure: why its annotation cannot be used. A run then records the failure.
    """

    name: str
    path: Path
    label: Label | None = None
    things: tuple[Thing, ...] | None = None
    mask: Callable[[], PhotoMask] | None = None
    failure: ScorecamError | None = None

    @summary
    def __repr__(self) -> Iterator[str]:
        yield excerpt(self.name, 200)
        yield "" if self.label is None else f"label {quoted(self.label)}"
        yield "" if self.things is None else f"objects: {len(self.things)}"
        yield "" if self.mask is None else "with a mask"
        yield "" if self.failure is None else type(self.failure).__name__

    @property
    def id(self) -> str:
        """The photo's id in file names: 16 hexadecimal digits of the SHA-256 of `name`."""
        return hashlib.sha256(self.name.encode("utf-8", "surrogateescape")).hexdigest()[:16]

    def boxes(self, label: Label | None) -> list[Box] | None:
        """The boxes of one class; None if objects are not annotated."""
        if self.things is None:
            return None
        return [thing.box for thing in self.things if thing.label == label]


@dataclass(frozen=True, eq=False)
class Dataset:
    """Photos, in a fixed order, and their classes.

    Args:
        root: its folder, or the file that lists the photos.
        kind: the name of its format: "folder", "imagenet", "voc", "coco" or "list".
        samples: sorted by name.
        classes: every label of the samples, sorted.
        remarks: what the user should know, such as dropped boxes.
    """

    root: Path
    kind: str
    samples: tuple[Sample, ...]
    classes: tuple[Label, ...]
    remarks: tuple[str, ...] = ()

    @summary
    def __repr__(self) -> Iterator[str]:
        yield excerpt(self.root, 200)
        yield self.kind
        yield f"{len(self.samples)} photos"
        yield f"{len(self.classes)} classes"

    def __len__(self) -> int:
        return len(self.samples)
