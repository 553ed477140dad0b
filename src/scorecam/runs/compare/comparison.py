"""What a comparison found, as plain values and as a table."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from scorecam.base.wording import constructor, excerpt, summary
from scorecam.metrics.statistics import Interval
from scorecam.runs import markdown
from scorecam.runs.markdown import Markdown, words
from scorecam.runs.tables import in_words

MOST = 20
"""Photos that moved most, in the table."""


@dataclass(frozen=True)
class Moved:
    """One photo on the first side and on another.

    Args:
        similarity: of the two maps, Pearson in [-1, 1], and 0 where one of them is flat; None
            where both are, or the two explain another class.
        flipped: whether the predicted class is another.
    """

    id: str
    name: str
    similarity: float | None
    flipped: bool
    focus: tuple[float | None, float | None]

    __repr__ = constructor


@dataclass(frozen=True)
class Versus:
    """The first side against another.

    Args:
        other: the other's name.
        similarity: of maps of one class.
        undefined: photos of which the two explain another class, or both maps are flat.
        agreement: the share of photos whose predicted class is the same.
        focus: the difference of the energy in the object, other less first.
        photos: each of them, the most changed first.
    """

    other: str
    similarity: Interval
    undefined: int
    agreement: Interval
    focus: Interval
    photos: tuple[Moved, ...]

    __repr__ = constructor


@dataclass(frozen=True)
class Comparison:
    """What a comparison found.

    Args:
        folder: where everything is.
        names: of the sides, in order.
        accuracy: of each side, where photos have labels.
        focus: energy in the object (mask, or else box), of each side.
        versus: the first against each other.
        failed: the gates that were not met, as sentences.
        remarks: what could not be told, and why.
    """

    folder: Path
    names: tuple[str, ...]
    accuracy: tuple[Interval, ...]
    focus: tuple[Interval, ...]
    versus: tuple[Versus, ...]
    failed: tuple[str, ...]
    remarks: tuple[str, ...]

    @summary
    def __repr__(self) -> Iterator[str]:
        yield excerpt(self.folder, 200)
        yield excerpt(" against ".join(self.names))
        yield f"failed gates: {len(self.failed)}"

    @property
    def table(self) -> Markdown:
        """The same in Markdown."""
        return _table(self)


def _table(found: Comparison) -> Markdown:
    head = ["model", "accuracy", "focus", "similarity", "same prediction", "focus gained"]
    sides = list(zip(found.names, found.accuracy, found.focus, strict=True))
    rows: list[list[str]] = [
        [name, in_words(right), in_words(own), "", "", ""] for name, right, own in sides
    ]
    for row, each in zip(rows[1:], found.versus, strict=True):
        similarity = in_words(each.similarity)
        if each.undefined:
            similarity = words("{} ({} undefined)", similarity, each.undefined)
        row[3:] = [
            similarity,
            in_words(each.agreement),
            in_words(each.focus, "+"),
        ]
    parts = [markdown.heading(1, "Comparison with the first"), markdown.table(head, rows)]
    for each in found.versus:
        lines = [
            [
                photo.name,
                "–" if photo.similarity is None else f"{photo.similarity:.3f}",
                "another class" if photo.flipped else "",
                " → ".join("–" if value is None else f"{value:.2f}" for value in photo.focus),
            ]
            for photo in each.photos[:MOST]
        ]
        parts += [
            markdown.heading(2, "What moved most: {}", each.other),
            markdown.table(["photo", "similarity", "prediction", "focus"], lines),
        ]
    if found.failed:
        parts.append(markdown.paragraph("Not met: {}.", "; ".join(found.failed)))
    parts += [markdown.paragraph("{}", remark) for remark in found.remarks]
    return markdown.document(*parts)
