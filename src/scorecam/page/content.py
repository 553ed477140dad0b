"""The content of a page, as plain data."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt

from scorecam.errors import SettingError
from scorecam.page.outline import Outline

Grid8 = npt.NDArray[np.uint8]
"""A map on the layer's grid, `u v`, scaled to 0–255; a flat map is all 0."""

LEVELS: Final = ("problem", "warning", "note")
"""Levels of findings, most severe first."""

ROLES: Final = ("label", "predicted", "target")
"""The roles of a class in a picture."""

MAX_CLASSES = 5
"""Classes per picture, at most; more would make pages of thousands of pictures too large."""


def grid8(grid: npt.ArrayLike) -> Grid8:
    """A heatmap, `u v`, in the page's format; negative values count as 0."""
    cells = np.maximum(np.asarray(grid), 0)
    top = float(cells.max())
    scaled = np.round(cells / top * 255) if top > 0 else cells
    return scaled.astype(np.uint8)


@dataclass(frozen=True, eq=False)
class Shown:
    """One class of one picture.

    Args:
        name: of the class.
        probability: in [0, 1]; None if the scores aren't probabilities.
        value: the score as a text, such as "3.2 mm"; empty for the probability in percent.
        outline: where the answer is in the picture, if that is known.
        role: "label", "predicted" or "target", several separated by commas, or ""; shown as badges.
        maps: by view (a variant, a method, or one side of a comparison).

    Raises:
        SettingError: a map is not `u v` uint8.
    """

    name: str
    probability: float | None
    role: str
    maps: Mapping[str, Grid8]
    value: str = ""
    outline: Outline | None = None

    def __post_init__(self) -> None:
        _check_grids(self.maps.items())


@dataclass(frozen=True, eq=False)
class Channel:
    """A channel of the layer with a large weight in a map.

    Args:
        name: of the channel.
        share: its signed share of the sum of absolute weights, in [-1, 1].
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
    """One picture with its maps and everything known about it.

    Args:
        id: findings refer to the picture by it.
        name: of the file.
        jpeg: the model's input as a JPEG or PNG; if None, a grey tile is shown.
        classes: at most 5.
        contrast: a title such as "cat rather than dog", and the map of that evidence.
        facts: numbers to show, sort and filter by; None, NaN and infinity are undefined.
        tags: to filter by: "right", "wrong", "flipped", codes of rules.
        words: sentences: health notes, and where the model looked instead.
        channels: of the layer, those with the largest weights in the first class's map.
        sides: by view, what that side predicts. If given, the views are shown side by side.

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
    sides: Mapping[str, str] = field(default_factory=dict[str, str])

    def __post_init__(self) -> None:
        if len(self.classes) > MAX_CLASSES:
            raise SettingError(
                f"{self.name} has {len(self.classes)} classes; a page shows at most {MAX_CLASSES}.",
                do="Keep the label, the prediction and the classes with the highest scores.",
            )
        _check_grids([self.contrast] if self.contrast is not None else [])


@dataclass(frozen=True)
class Drawing:
    """A finished picture, shown as it is: the map of an input that is not a photo.

    Args:
        name: of the class.
        png: the file.
        words: sentences for readers who cannot see it, such as health notes.
    """

    name: str
    png: bytes
    words: tuple[str, ...] = ()

    @property
    def url(self) -> str:
        """The file as a data URL."""
        return f"data:image/png;base64,{base64.b64encode(self.png).decode()}"


@dataclass(frozen=True)
class FindingCard:
    """A finding about many pictures.

    Args:
        rule: the code of its rule.
        level: "problem", "warning" or "note".
        sentence: what was found.
        evidence: the numbers behind it, one sentence each.
        effect: the effect size.
        pictures: ids of example pictures; some may not be on the page.
        role: the class whose maps it is about: "label", "predicted" or "target"; "" for none.

    Raises:
        SettingError: the level or the role is unknown.
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
                f"The finding {self.rule} has an unknown level, {self.level!r}.",
                do=f"The levels are {', '.join(LEVELS)}.",
            )
        if self.role not in ("", *ROLES):
            raise SettingError(
                f"The finding {self.rule} has an unknown role, {self.role!r}.",
                do=f"The roles are {', '.join(ROLES)}.",
            )


@dataclass(frozen=True)
class Table:
    """A table of texts.

    Args:
        title: its heading.
        lead: a sentence under the heading.
        head: the names of the columns.
        rows: as many cells each.
    """

    title: str
    lead: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, eq=False)
class Page:
    """Everything on a page, from top to bottom.

    Args:
        title: the heading.
        lead: the sentence under it.
        about: rows of the overview: name and value.
        findings: the most important first.
        pictures: in their initial order.
        remarks: sentences under the overview.
        drawings: finished pictures, which take the place of `pictures`.
        tables: under the findings.
        columns: what is explained, in the singular and the plural.

    Raises:
        SettingError: two pictures have the same id.
    """

    title: str
    lead: str
    about: tuple[tuple[str, str], ...] = ()
    findings: tuple[FindingCard, ...] = ()
    pictures: tuple[Picture, ...] = ()
    remarks: tuple[str, ...] = ()
    drawings: tuple[Drawing, ...] = ()
    tables: tuple[Table, ...] = ()
    columns: tuple[str, str] = ("class", "classes")

    def __post_init__(self) -> None:
        seen: set[str] = set()
        for picture in self.pictures:
            if picture.id in seen:
                raise SettingError(
                    f"Two pictures have the same id, {picture.id!r}; findings need unique ids."
                )
            seen.add(picture.id)


def _check_grids(grids: Iterable[tuple[str, Grid8]]) -> None:
    """Raise SettingError unless a page can draw every map."""
    for name, grid in grids:
        if not isinstance(grid, np.ndarray) or grid.dtype != np.uint8:
            raise SettingError(f"The map {name!r} is not a numpy array of uint8.")
        if grid.ndim != 2 or not grid.size:
            raise SettingError(
                f"The map {name!r} has the shape {grid.shape}; a page draws 2-D maps.",
                do="Give rows and columns of cells.",
            )
