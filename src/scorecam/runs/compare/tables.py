"""The result of a comparison as Markdown, and the rows that its page shows too."""

from __future__ import annotations

from collections.abc import Sequence

from scorecam.metrics.statistics import Interval
from scorecam.runs import markdown
from scorecam.runs.compare.class_changes import FEW_PHOTOS
from scorecam.runs.compare.versus import ClassChange, PhotoChange, Versus
from scorecam.runs.markdown import Markdown, words
from scorecam.runs.record import ClassScore
from scorecam.runs.tables import in_words

LISTED, LISTED_CLASSES = 20, 10
"""Rows of a table of the largest changes: photos, and classes."""

CLASS_HEAD = ("class", "photos", "different predictions", "similarity", "accuracy gained", "")
"""The columns of the table of classes."""


def comparison_table(
    others: Sequence[Versus],
    *,
    names: Sequence[str],
    accuracy: Sequence[Interval],
    focus: Sequence[Interval],
    failed: Sequence[str],
    remarks: Sequence[str],
) -> Markdown:
    """All numbers, and the photos and classes with the largest changes.

    Args:
        others: the first side compared with each other side.
        names, accuracy, focus: of every side.
        failed: the gates that failed, as sentences.
        remarks: further sentences.
    """
    parts = [
        markdown.heading(1, "Comparison with the first"),
        _sides(others, names, accuracy, focus),
    ]
    if failed:
        parts.append(markdown.paragraph("Failed gates: {}.", "; ".join(failed)))
    for versus in others:
        parts += [
            markdown.heading(2, "Different predictions: {}", versus.other),
            markdown.paragraph("{}.", flips_in_words(versus)),
            *([_flips(versus)] if versus.flipped else []),
            markdown.heading(2, "Largest changes: {}", versus.other),
            markdown.paragraph("The least similar maps first."),
            _photos(versus),
            markdown.heading(2, "By class: {}", versus.other),
            markdown.paragraph("{}", _listed_classes(versus)),
            markdown.table(
                CLASS_HEAD, [class_row(each) for each in versus.classes[:LISTED_CLASSES]]
            ),
        ]
    parts += [markdown.paragraph("{}", remark) for remark in remarks]
    return markdown.document(*parts)


def flips_in_words(versus: Versus) -> str:
    """How often the predictions differ, such as `2 of 128 photos (1.6 %, 95 % interval …)`."""
    share = versus.flips
    ends = f"95 % interval {100 * share.low:.1f} to {100 * share.high:.1f} %"
    return f"{len(versus.flipped):,} of {share.n:,} photos ({100 * share.mean:.1f} %, {ends})"


def classes_on_page() -> str:
    """The order of a table of all classes, and what its marks mean."""
    return (
        "The most different predictions first, then the least similar maps. Classes with fewer "
        f"than {FEW_PHOTOS} photos are marked: few photos."
    )


def _listed_classes(versus: Versus) -> str:
    count = len(versus.classes)
    if count <= LISTED_CLASSES:
        return classes_on_page()
    some = f"The first {LISTED_CLASSES} of {count:,} classes; compare.json has all."
    return f"{classes_on_page()} {some}"


def class_row(change: ClassChange) -> list[str]:
    """A class as a row of the table of classes."""
    flips = round(change.flips.mean * change.photos)
    return [
        change.name,
        f"{change.photos:,}",
        words("{}: {}", flips, _rate(change.flips)),
        in_words(change.similarity),
        in_words(change.accuracy, "+"),
        "few photos" if change.photos < FEW_PHOTOS else "",
    ]


def class_in_words(score: ClassScore | None) -> str:
    """A predicted class with its probability: `tabby (41 %)`."""
    if score is None:
        return "not found"
    name = score.name or f"class {score.index}"
    return name if score.probability is None else f"{name} ({score.probability:.0%})"


def similarity_in_words(photo: PhotoChange) -> str:
    """The similarity of a photo's maps."""
    return "–" if photo.similarity is None else f"{photo.similarity:.3f}"


def focus_in_words(photo: PhotoChange) -> str:
    """The energy in the object on both sides: `0.52 → 0.44`."""
    return " → ".join("–" if value is None else f"{value:.2f}" for value in photo.focus)


def _sides(
    others: Sequence[Versus],
    names: Sequence[str],
    accuracy: Sequence[Interval],
    focus: Sequence[Interval],
) -> Markdown:
    """One line per side; those after the first have the columns of the comparison."""
    head = ["model", "accuracy", "focus", "similarity", "worst", "same prediction", "focus gained"]
    lines: list[list[str]] = [
        [name, in_words(right), in_words(energy), *[""] * 4]
        for name, right, energy in zip(names, accuracy, focus, strict=True)
    ]
    for cells, versus in zip(lines[1:], others, strict=True):
        similarity = in_words(versus.similarity)
        if versus.undefined:
            similarity = words("{} ({} undefined)", similarity, versus.undefined)
        worst = [similarity_in_words(photo) for photo in versus.by_similarity[:1]]
        cells[3:] = [
            similarity,
            worst[0] if worst else "–",
            in_words(versus.agreement),
            in_words(versus.focus, "+"),
        ]
    return markdown.table(head, lines)


def _flips(versus: Versus) -> Markdown:
    lines = [
        [
            photo.name,
            *(class_in_words(score) for score in photo.predicted or ()),
            similarity_in_words(photo),
            focus_in_words(photo),
        ]
        for photo in versus.flipped[:LISTED]
    ]
    head = ["photo", "first predicts", f"{versus.other} predicts", "similarity", "focus"]
    return markdown.table(head, lines)


def _photos(versus: Versus) -> Markdown:
    lines = [
        [
            photo.name,
            similarity_in_words(photo),
            "another class or box" if photo.flipped else "",
            focus_in_words(photo),
        ]
        for photo in versus.by_similarity[:LISTED]
    ]
    return markdown.table(["photo", "similarity", "prediction", "focus"], lines)


def _rate(share: Interval) -> Markdown:
    """A share of photos and its interval, such as `0.20 [0.06, 0.51]`."""
    mean, low, high = (f"{each:.2f}" for each in (share.mean, share.low, share.high))
    return words("{} [{}, {}]", mean, low, high)
