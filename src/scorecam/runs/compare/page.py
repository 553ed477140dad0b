"""The photos that moved most between the sides of a comparison, as a page."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scorecam.io.json_values import is_text
from scorecam.page import Page, Picture, Shown, decodable, grid8
from scorecam.runs.compare.sides import Side
from scorecam.runs.plots import told_apart
from scorecam.runs.record import ENTRY, Unreadable, read_object
from scorecam.runs.tables import in_words

if TYPE_CHECKING:
    from scorecam.runs.compare.comparison import Comparison, Moved
    from scorecam.runs.record import Record

LONG = 2**20
"""Characters of a thumbnail."""

MOST = 200
"""Photos on the page: those that moved most."""


def moved_page(found: Comparison, sides: Sequence[Side]) -> Page:
    """Every photo on all sides, the most changed first.

    A photo's place is that on the side where it changed most: another predicted class first, then
    the least alike.
    """
    names = _titles(found.names)
    changes: dict[str, dict[str, Moved]] = {}
    places: dict[str, int] = {}
    for other, versus in zip(names[1:], found.versus, strict=True):
        for place, photo in enumerate(versus.photos):
            changes.setdefault(photo.id, {})[other] = photo
            places[photo.id] = min(places.get(photo.id, place), place)
    order = sorted(changes, key=lambda sample: places[sample])
    shown = [_picture(sample, changes[sample], sides, names) for sample in order[:MOST]]
    lead = "The same photos on every side; those that changed most come first."
    if len(order) > MOST:
        lead += f" The first {MOST} of {len(order):,}."
    gates = [f"Not met: {sentence}." for sentence in found.failed]
    return Page(
        f"{names[0]} compared with {', '.join(names[1:])}",
        lead,
        _about(found, names),
        pictures=tuple(shown),
        remarks=(*gates, *found.remarks),
    )


def _titles(names: Sequence[str]) -> list[str]:
    """The sides' names, short, and each another."""
    short = told_apart(names)
    return [
        f"{name} ({place})" if short.count(name) > 1 else name
        for place, name in enumerate(short, start=1)
    ]


def _about(found: Comparison, names: Sequence[str]) -> tuple[tuple[str, str], ...]:
    rows: list[tuple[str, str]] = []
    for name, accuracy, focus in zip(names, found.accuracy, found.focus, strict=True):
        told = [
            f"{what} {in_words(each)}"
            for what, each in (("accuracy", accuracy), ("energy in the object", focus))
            if each.n
        ]
        rows.append((name, ", ".join(told) or "neither labels nor objects are known"))
    for other, versus in zip(names[1:], found.versus, strict=True):
        alike, same = in_words(versus.similarity), in_words(versus.agreement)
        told = f"similarity {alike}, same prediction {same}"
        rows.append((f"{names[0]} against {other}", told))
    return tuple(rows)


def _picture(
    sample: str, changes: Mapping[str, Moved], sides: Sequence[Side], names: Sequence[str]
) -> Picture:
    records = {
        name: side.records[sample]
        for name, side in zip(names, sides, strict=True)
        if sample in side.records
    }
    first = next(iter(changes.values()))
    facts: dict[str, float | None] = {}
    for other, change in changes.items():
        behind = f", {other}" if len(names) > 2 else ""
        facts[f"similarity{behind}"] = change.similarity
        facts[f"focus gained{behind}"] = _gained(*change.focus)
    flipped = any(change.flipped for change in changes.values())
    words = [f"{name} says {_said(record['predicted'])}." for name, record in records.items()]
    return Picture(
        sample,
        first.name,
        _thumbnail(sample, sides),
        _classes(sample, records, dict(zip(names, sides, strict=True))),
        None,
        facts,
        ("flipped",) if flipped else (),
        tuple(words),
    )


def _gained(before: float | None, after: float | None) -> float | None:
    return None if before is None or after is None else after - before


def _classes(
    sample: str, records: Mapping[str, Record], sides: Mapping[str, Side]
) -> tuple[Shown, ...]:
    """The classes that the sides explain, one map for each side that explains it."""
    kinds: dict[int, dict[str, Record]] = {}
    for name, record in records.items():
        kinds.setdefault(record["target"]["index"], {})[name] = record
    shown: list[Shown] = []
    for index, own in list(kinds.items())[:5]:
        target = next(iter(own.values()))["target"]
        maps = {name: grid8(sides[name].maps[sample]) for name in own if sample in sides[name].maps}
        shown.append(
            Shown(target["name"] or f"class {index}", target["probability"], "target", maps)
        )
    return tuple(shown)


def _said(column: Mapping[str, Any]) -> str:
    name = column["name"] or f"class {column['index']}"
    probability = column["probability"]
    return name if probability is None else f"{name} ({probability:.0%})"


def _thumbnail(sample: str, sides: Sequence[Side]) -> bytes | None:
    """What the first side that has kept it saw."""
    for side in sides:
        file: Path = side.folder / "gallery" / sample[:2] / f"{sample}.json"
        try:
            kept = read_object(file, ENTRY, "entry that is no entry").get("jpeg")
            jpeg = decodable(base64.b64decode(kept, validate=True)) if is_text(kept, LONG) else None
        except (FileNotFoundError, Unreadable, ValueError):  # not kept, or edited
            continue
        if jpeg is not None:
            return jpeg
    return None  # a grey tile
