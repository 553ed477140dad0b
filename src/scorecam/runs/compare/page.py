"""The page of a comparison: the photos that changed most, with the maps of every side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from scorecam.page import Page, Picture, Shown, grid8
from scorecam.runs.compare.comparison import Comparison, PhotoChange
from scorecam.runs.compare.plots import short_names
from scorecam.runs.compare.sides import Side
from scorecam.runs.gallery import read_thumbnail
from scorecam.runs.record import ClassScore, MeasuredRecord
from scorecam.runs.tables import in_words

PAGE_PHOTOS = 200
"""The most photos on the page: those that changed most."""


def change_page(comparison: Comparison, sides: Sequence[Side]) -> Page:
    """Every photo on all sides, the largest change first.

    A photo is ranked by the side where it changed most: different predictions first, then the
    least similar maps.
    """
    names = _titles(comparison.names)
    changes: dict[str, dict[str, PhotoChange]] = {}
    ranks: dict[str, int] = {}
    for other, versus in zip(names[1:], comparison.versus, strict=True):
        for rank, photo in enumerate(versus.photos):
            changes.setdefault(photo.id, {})[other] = photo
            ranks[photo.id] = min(ranks.get(photo.id, rank), rank)
    order = sorted(changes, key=lambda sample: ranks[sample])
    by_name = dict(zip(names, sides, strict=True))
    pictures = [_picture(sample, changes[sample], by_name) for sample in order[:PAGE_PHOTOS]]
    lead = "The same photos on every side; those that changed most come first."
    if len(order) > PAGE_PHOTOS:
        lead += f" The first {PAGE_PHOTOS} of {len(order):,}."
    gates = [f"Failed gate: {sentence}." for sentence in comparison.failed]
    return Page(
        f"{names[0]} compared with {', '.join(names[1:])}",
        lead,
        _about(comparison, names),
        pictures=tuple(pictures),
        remarks=(*gates, *comparison.remarks),
    )


def _titles(names: Sequence[str]) -> list[str]:
    """Short and distinct names of the sides."""
    short = short_names(names)
    return [
        f"{name} ({place})" if short.count(name) > 1 else name
        for place, name in enumerate(short, start=1)
    ]


def _about(comparison: Comparison, names: Sequence[str]) -> tuple[tuple[str, str], ...]:
    lines: list[tuple[str, str]] = []
    for name, accuracy, focus in zip(names, comparison.accuracy, comparison.focus, strict=True):
        known = [
            f"{what} {in_words(mean)}"
            for what, mean in (("accuracy", accuracy), ("energy in the object", focus))
            if mean.n
        ]
        lines.append((name, ", ".join(known) or "no labels or annotated objects"))
    for other, versus in zip(names[1:], comparison.versus, strict=True):
        similarity, agreement = in_words(versus.similarity), in_words(versus.agreement)
        text = f"similarity {similarity}, same prediction {agreement}"
        lines.append((f"{names[0]} against {other}", text))
    return tuple(lines)


def _picture(sample: str, changes: Mapping[str, PhotoChange], sides: Mapping[str, Side]) -> Picture:
    """One photo, with its maps and predictions on every side."""
    facts: dict[str, float | None] = {}
    for other, change in changes.items():
        suffix = f", {other}" if len(sides) > 2 else ""
        before, after = change.focus
        facts[f"similarity{suffix}"] = change.similarity
        facts[f"focus gained{suffix}"] = None if before is None or after is None else after - before
    records = {name: side.records[sample] for name, side in sides.items() if sample in side.records}
    flipped = any(change.flipped for change in changes.values())
    predictions = [f"{name} predicts {_text(own.predicted)}." for name, own in records.items()]
    return Picture(
        sample,
        next(iter(changes.values())).name,
        read_thumbnail([side.layout for side in sides.values()], sample),
        _classes(sample, records, sides),
        contrast=None,
        facts=facts,
        tags=("flipped",) if flipped else (),
        words=tuple(predictions),
    )


def _classes(
    sample: str, records: Mapping[str, MeasuredRecord], sides: Mapping[str, Side]
) -> tuple[Shown, ...]:
    """The classes that the sides explain, with one map per side that explains it."""
    by_class: dict[int, dict[str, MeasuredRecord]] = {}
    for name, record in records.items():
        by_class.setdefault(record.target.index, {})[name] = record
    shown: list[Shown] = []
    for index, own in list(by_class.items())[:5]:
        target = next(iter(own.values())).target
        maps = {name: grid8(sides[name].maps[sample]) for name in own if sample in sides[name].maps}
        shown.append(Shown(target.name or f"class {index}", target.probability, "target", maps))
    return tuple(shown)


def _text(score: ClassScore) -> str:
    name = score.name or f"class {score.index}"
    return name if score.probability is None else f"{name} ({score.probability:.0%})"
