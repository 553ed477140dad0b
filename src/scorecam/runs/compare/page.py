"""The page of a comparison: the photos that changed most, with the maps of every side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from scorecam.page import FindingCard, Page, Picture, Shown, Table, grid8
from scorecam.runs.compare.comparison import Comparison
from scorecam.runs.compare.plots import short_names
from scorecam.runs.compare.sides import Side
from scorecam.runs.compare.tables import (
    CLASS_HEAD,
    class_in_words,
    class_row,
    classes_on_page,
    flips_in_words,
    focus_in_words,
    similarity_in_words,
)
from scorecam.runs.compare.versus import FailedGate, PhotoChange, Versus
from scorecam.runs.gallery import read_thumbnail
from scorecam.runs.record import MeasuredRecord
from scorecam.runs.tables import in_words

PAGE_PHOTOS = 200
"""The most photos on the page: those that changed most."""

EXAMPLES = 12
"""The most photos in a card about the least similar maps."""


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
    flipped = {photo.id for versus in comparison.versus for photo in versus.flipped}
    order = sorted(changes, key=lambda sample: (sample not in flipped, ranks[sample]))
    by_name = dict(zip(names, sides, strict=True))
    pictures = [_picture(sample, changes[sample], by_name) for sample in order[:PAGE_PHOTOS]]
    lead = "The same photos on every side; those that changed most come first."
    if len(order) > PAGE_PHOTOS:
        lead += f" The first {PAGE_PHOTOS} of {len(order):,}."
    return Page(
        f"{names[0]} compared with {', '.join(names[1:])}",
        lead,
        _about(comparison, names),
        findings=_cards(comparison, names),
        pictures=tuple(pictures),
        remarks=comparison.remarks,
        tables=tuple(
            Table(
                f"By class: {other}",
                classes_on_page(),
                CLASS_HEAD,
                tuple(tuple(class_row(change)) for change in versus.classes),
            )
            for other, versus in zip(names[1:], comparison.versus, strict=True)
        ),
    )


def _cards(comparison: Comparison, names: Sequence[str]) -> tuple[FindingCard, ...]:
    """The failed gates, then the different predictions, then the least similar maps."""
    by_side = {versus.other: versus for versus in comparison.versus}
    cards = [_gate_card(gate, by_side[gate.side]) for gate in comparison.failed_gates]
    for other, versus in zip(names[1:], comparison.versus, strict=True):
        if versus.flipped:
            cards.append(_flip_card(names[0], other, versus))
    for other, versus in zip(names[1:], comparison.versus, strict=True):
        if versus.by_similarity:
            cards.append(_least_similar_card(other, versus))
    return tuple(cards)


def _gate_card(gate: FailedGate, versus: Versus) -> FindingCard:
    photos = {"agreement": versus.flipped, "accuracy": _now_wrong(versus)}.get(gate.gate)
    if photos is None:
        photos = _least_focus(versus) if gate.gate == "focus" else versus.by_similarity[:EXAMPLES]
    return FindingCard(
        rule="gate",
        level="problem",
        sentence=f"Gate failed. {gate.sentence}.",
        evidence=(),
        effect="",
        pictures=tuple(photo.id for photo in photos),
    )


def _now_wrong(versus: Versus) -> tuple[PhotoChange, ...]:
    return tuple(photo for photo in versus.photos if photo.right[1] is False)


def _least_focus(versus: Versus) -> tuple[PhotoChange, ...]:
    known = [photo for photo in versus.photos if photo.focus[1] is not None]
    return tuple(sorted(known, key=lambda photo: photo.focus[1] or 0.0)[:EXAMPLES])


def _flip_card(first: str, other: str, versus: Versus) -> FindingCard:
    lines = [
        f"{photo.name}: {class_in_words(photo.predicted[0])} → {class_in_words(photo.predicted[1])}"
        for photo in versus.flipped[:EXAMPLES]
        if photo.predicted is not None
    ]
    if len(versus.flipped) > EXAMPLES:
        lines.append(f"And {len(versus.flipped) - EXAMPLES:,} more; compare.json has all.")
    return FindingCard(
        rule="flips",
        level="warning",
        sentence=f"{first} and {other} predict different classes.",
        evidence=tuple(lines),
        effect=f"{flips_in_words(versus)}.",
        pictures=tuple(photo.id for photo in versus.flipped),
    )


def _least_similar_card(other: str, versus: Versus) -> FindingCard:
    photos = versus.by_similarity[:EXAMPLES]
    least = similarity_in_words(photos[0])
    return FindingCard(
        rule="least similar",
        level="note",
        sentence=f"The least similar maps of {other}.",
        evidence=tuple(
            f"{photo.name}: similarity {similarity_in_words(photo)}{_energy(photo)}"
            for photo in photos[:5]
        ),
        effect=f"Mean similarity {in_words(versus.similarity)}, least {least}.",
        pictures=tuple(photo.id for photo in photos),
    )


def _energy(photo: PhotoChange) -> str:
    if None in photo.focus:
        return ""
    return f", energy in the object {focus_in_words(photo)}"


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
        text += f"; different predictions: {flips_in_words(versus)}"
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
    predicted = {name: class_in_words(own.predicted) for name, own in records.items()}
    sentences = [f"{name} predicts {prediction}." for name, prediction in predicted.items()]
    return Picture(
        sample,
        next(iter(changes.values())).name,
        read_thumbnail([side.layout for side in sides.values()], sample),
        _classes(sample, records, sides),
        contrast=None,
        facts=facts,
        tags=("flipped",) if flipped else (),
        words=(*sentences, *_focus_sentences(changes)),
        sides=predicted,
    )


def _focus_sentences(changes: Mapping[str, PhotoChange]) -> list[str]:
    return [
        f"Energy in the object, first and {other}: {focus_in_words(change)}."
        for other, change in changes.items()
        if None not in change.focus
    ]


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
