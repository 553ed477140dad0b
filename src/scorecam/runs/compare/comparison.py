"""The result of a comparison, as plain values and as Markdown."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from scorecam.base.wording import constructor, excerpt, summary
from scorecam.metrics.statistics import Interval
from scorecam.runs import markdown
from scorecam.runs.markdown import Markdown, words
from scorecam.runs.tables import in_words

LISTED_PHOTOS = 20
"""Photos in the table of the largest changes."""


@dataclass(frozen=True)
class PhotoChange:
    """One photo on the first side and on another.

    Args:
        similarity: Pearson correlation of the two maps; 0 if one of them is constant; None if both
            are, or if the sides explain different classes.
        flipped: whether the sides predict different classes.
        focus: the energy in the object on each side; None if it is unknown.
    """

    id: str
    name: str
    similarity: float | None
    flipped: bool
    focus: tuple[float | None, float | None]

    __repr__ = constructor


@dataclass(frozen=True)
class Versus:
    """The first side compared with another.

    Args:
        other: the name of the other side.
        similarity: of maps of the same class.
        undefined: photos without a similarity.
        agreement: the share of photos with the same prediction.
        focus: the gain in the energy in the object: other minus first.
        photos: the largest change first.
    """

    other: str
    similarity: Interval
    undefined: int
    agreement: Interval
    focus: Interval
    photos: tuple[PhotoChange, ...]

    __repr__ = constructor


@dataclass(frozen=True)
class Comparison:
    """The result of a comparison.

    Args:
        folder: of the comparison.
        names: of the sides, in order.
        accuracy: of each side, if photos have labels.
        focus: of each side, the energy in the object (by its mask, or else its boxes).
        versus: the first side compared with each other side.
        failed: the gates that failed, as sentences.
        remarks: what is unknown or was left out, and why.
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
        """The result as Markdown."""
        parts = [markdown.heading(1, "Comparison with the first"), _sides(self)]
        for versus in self.versus:
            parts += [markdown.heading(2, "Largest changes: {}", versus.other), _photos(versus)]
        if self.failed:
            parts.append(markdown.paragraph("Failed gates: {}.", "; ".join(self.failed)))
        parts += [markdown.paragraph("{}", remark) for remark in self.remarks]
        return markdown.document(*parts)


def _sides(comparison: Comparison) -> Markdown:
    """One line per side; those after the first have the columns of the comparison."""
    head = ["model", "accuracy", "focus", "similarity", "same prediction", "focus gained"]
    sides = zip(comparison.names, comparison.accuracy, comparison.focus, strict=True)
    lines: list[list[str]] = [
        [name, in_words(accuracy), in_words(focus), "", "", ""] for name, accuracy, focus in sides
    ]
    for cells, versus in zip(lines[1:], comparison.versus, strict=True):
        similarity = in_words(versus.similarity)
        if versus.undefined:
            similarity = words("{} ({} undefined)", similarity, versus.undefined)
        cells[3:] = [similarity, in_words(versus.agreement), in_words(versus.focus, "+")]
    return markdown.table(head, lines)


def _photos(versus: Versus) -> Markdown:
    lines = [
        [
            photo.name,
            "–" if photo.similarity is None else f"{photo.similarity:.3f}",
            "another class" if photo.flipped else "",
            " → ".join("–" if value is None else f"{value:.2f}" for value in photo.focus),
        ]
        for photo in versus.photos[:LISTED_PHOTOS]
    ]
    return markdown.table(["photo", "similarity", "prediction", "focus"], lines)
