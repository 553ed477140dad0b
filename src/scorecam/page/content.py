"""What a page shows: plain data, all of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from scorecam.errors import SettingError

Grid8 = npt.NDArray[np.uint8]
"""A map on the layer's grid, `u v`: 255 where it is largest, all 0 where it is flat."""

LEVELS: Final = ("problem", "warning", "note")
"""How bad a finding is, worst first."""

ROLES: Final = ("label", "predicted", "target")
"""What a class can be to its picture."""

MOST_CLASSES = 5
"""Classes of one picture; more would make a page of thousands too heavy."""


def grid8(grid: npt.ArrayLike) -> Grid8:
    """A heatmap, `u v`, as a page has it; what is below 0 counts as 0."""
    cells = np.maximum(np.asarray(grid), 0)
    top = float(cells.max())
    scaled = np.round(cells / top * 255) if top > 0 else cells
    return scaled.astype(np.uint8)


@dataclass(frozen=True, eq=False)
class Shown:
    """One class of one picture.

    Args:
        name: of the class.
        probability: what the model gave it, in [0, 1]; None where the scores are no probabilities.
        role: what the class is here, shown as badges: "label", "predicted", "target", several with
            commas between, or "".
        maps: its map in every view (a variant, a method, a side of a comparison).

    Raises:
        SettingError: a map is not `u v` uint8.
    """

    name: str
    probability: float | None
    role: str
    maps: Mapping[str, Grid8]

    def __post_init__(self) -> None:
        _check_grids(self.maps.items())


@dataclass(frozen=True, eq=False)
class Channel:
    """A channel of the layer that carries a map.

    Args:
        name: of the channel.
        share: of the absolute weight of all channels, signed, in [-1, 1].
        grid: its activation.

    Raises:
        SettingError: the grid is not `u v` uint8.
    """

    name: str
    share: float
    grid: Grid8

    def __post_init__(self) -> None:
        _check_grids([(self.name, self.grid)])


@dataclass(frozen=True, eq=False)
class Picture:
    """One picture, its maps, and what is known of it.

    Args:
        id: by which findings name it.
        name: of the file.
        jpeg: what the model saw, a JPEG or a PNG; None for a plain grey tile.
        classes: at most 5.
        contrast: what speaks for one class rather than another, and that in words.
        facts: numbers to show, sort and filter by; None, NaN and infinity are undefined.
        tags: to filter by: "right", "wrong", "flipped", the codes of rules.
        words: sentences: what speaks against the map, where the model looked instead.
        channels: those that carry the map of the first class.

    Raises:
        SettingError: there are more than 5 classes, or the contrast is not `u v` uint8.
    """

    id: str
    name: str
    jpeg: bytes | None
    classes: tuple[Shown, ...]
    contrast: tuple[str, Grid8] | None
    facts: Mapping[str, float | None]
    tags: tuple[str, ...]
    words: tuple[str, ...]
    channels: tuple[Channel, ...] = ()

    def __post_init__(self) -> None:
        if len(self.classes) > MOST_CLASSES:
            raise SettingError(
                f"{self.name} comes with {len(self.classes)} classes; a page shows {MOST_CLASSES}.",
                do="Keep the label, the prediction and the largest.",
            )
        _check_grids([self.contrast] if self.contrast is not None else [])


@dataclass(frozen=True)
class Finding:
    """Something found in many pictures at once.

    Args:
        rule: its code.
        level: "problem", "warning" or "note".
        sentence: what was found.
        evidence: the numbers behind it, a sentence each.
        effect: what it means for whoever relies on the model.
        pictures: the ids of pictures that show it: examples, perhaps not all of them.
        role: "label", "predicted" or "target": the class whose maps it is about; "" for none.

    Raises:
        SettingError: there is no such level, or no such role.
    """

    rule: str
    level: str
    sentence: str
    evidence: tuple[str, ...]
    effect: str
    pictures: tuple[str, ...]
    role: str = ""

    def __post_init__(self) -> None:
        if self.level not in LEVELS:
            raise SettingError(
                f"The finding {self.rule} has the level {self.level!r}.",
                do=f"The levels are {', '.join(LEVELS)}.",
            )
        if self.role not in ("", *ROLES):
            raise SettingError(
                f"The finding {self.rule} has the role {self.role!r}.",
                do=f"The roles are {', '.join(ROLES)}.",
            )


@dataclass(frozen=True, eq=False)
class Page:
    """Everything on a page, in the order in which it is read.

    Args:
        title: the heading.
        lead: the sentence under it.
        about: rows of the overview: what, and its value.
        findings: the most important first.
        pictures: in the order in which they are shown at first.
        remarks: sentences under the overview.

    Raises:
        SettingError: two pictures have the same id.
    """

    title: str
    lead: str
    about: tuple[tuple[str, str], ...] = ()
    findings: tuple[Finding, ...] = ()
    pictures: tuple[Picture, ...] = ()
    remarks: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        seen: set[str] = set()
        for picture in self.pictures:
            if picture.id in seen:
                raise SettingError(
                    f"Two pictures have the id {picture.id!r}: findings could not tell them apart."
                )
            seen.add(picture.id)


def _check_grids(grids: Iterable[tuple[str, Grid8]]) -> None:
    """That each is a map as a page draws it."""
    for name, grid in grids:
        if not isinstance(grid, np.ndarray) or grid.dtype != np.uint8:
            raise SettingError(f"The map {name!r} is not a numpy array of uint8.")
        if grid.ndim != 2 or not grid.size:
            raise SettingError(
                f"The map {name!r} has the shape {grid.shape}; a page draws two axes.",
                do="Give rows and columns of cells.",
            )
