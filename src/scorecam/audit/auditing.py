"""What is wrong with a model, read from a run: findings, ranked, with their evidence."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from scorecam.audit.finding import LEVELS, Finding
from scorecam.audit.item import Item
from scorecam.audit.map_clusters import Cluster
from scorecam.audit.map_location import instead
from scorecam.audit.photos import Photos
from scorecam.audit.photos_by_class import PhotosByClass, by_class
from scorecam.audit.reading import MethodMaps, read
from scorecam.audit.rules import RULES
from scorecam.base.wording import excerpt, shown, summary


@dataclass(frozen=True, eq=False)
class Audit:
    """What an audit found.

    Args:
        reading: the run as it was read.
        findings: the gravest first.
        remarks: what is missing or left out, and what could not be told.
        wrong: of every wrong prediction, by id, where the model looked instead, in words.
        classes: photos by class.
        clusters: the groups that the maps of each class fall into.
    """

    reading: MethodMaps
    findings: tuple[Finding, ...]
    remarks: tuple[str, ...]
    wrong: Mapping[str, tuple[str, ...]]
    classes: PhotosByClass
    clusters: Mapping[str, tuple[Cluster, ...]] = field(
        default_factory=dict[str, tuple[Cluster, ...]]
    )

    @summary
    def __repr__(self) -> Iterator[str]:
        yield excerpt(self.folder, 200)
        yield f"method {excerpt(self.reading.method)}"
        yield f"{len(self.items)} photos"
        yield f"{len(self.findings)} findings"
        yield f"worst {self.worst}" if self.findings else ""

    @property
    def folder(self) -> Path:
        """The run's folder."""
        return self.reading.folder

    @property
    def items(self) -> tuple[Item, ...]:
        """Every photo that was read."""
        return self.reading.items

    @property
    def worst(self) -> str | None:
        """The gravest level there is; None without findings."""
        return self.findings[0].level if self.findings else None

    def plain(self) -> dict[str, Any]:
        """The same as plain values, without the maps: what `audit.json` holds."""
        names = {item.id: item.name for item in self.items}
        return {
            "schema": 1,
            "run": shown(self.folder.name),
            "method": self.reading.method,
            "photos": self.reading.photos,
            "read": len(self.items),
            "items": [finding.plain() for finding in self.findings],
            "wrong": [
                {"id": sample, "name": names[sample], "words": list(words)}
                for sample, words in self.wrong.items()
            ],
            "clusters": {
                title: [{"part": each.part, "photos": list(each.photos)} for each in found]
                for title, found in self.clusters.items()
            },
            "remarks": list(self.remarks),
        }


def audit(run: str | os.PathLike[str], method: str | None = None) -> Audit:
    """Look for what is wrong with a model in the folder of a run; the model is not asked.

    Args:
        run: the folder of `scorecam evaluate`. It may be half finished: what is there is read.
        method: whose maps; None for the run's first method.

    Returns:
        Findings ranked by level, then from the most to the least telling rule, then by size.

    Raises:
        RunError: it is no run, of another schema or damaged; it lacks the method or has no maps.
        MissingExtra: scipy or scikit-learn is not installed.
    """
    reading = _own(read(Path(run), method))
    items = reading.items
    classes = by_class(items)
    photos = Photos(items, classes)
    results = [rule.find(photos) for rule in RULES.values()]
    remarks = [*reading.remarks, *(remark for result in results for remark in result.remarks)]
    remarks += _unjudged(items)
    return Audit(
        reading,
        _ranked(finding for result in results for finding in result.findings),
        tuple(dict.fromkeys(remarks)),
        wrong={item.id: instead(item, classes) for item in items if item.right is False},
        classes=classes,
        clusters={each.title: each.clusters for each in classes.all},
    )


def _ranked(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """By level, then in the order of the rules, then the largest effect first."""
    codes = list(RULES)
    return tuple(
        sorted(
            findings,
            key=lambda each: (LEVELS.index(each.level), codes.index(each.rule), -each.size),
        )
    )


def _own(reading: MethodMaps) -> MethodMaps:
    """The same, without what the gallery says of other methods' maps.

    Its error and its health are of the map of the first method that asks about masks, its contrast
    is Score-CAM's.
    """
    variants = reading.variants
    view = variants[reading.method]
    first = next((name for name, known in variants.items() if known is not None), None)
    items = [replace(item, view=view) for item in reading.items]
    if reading.method != first:
        none = {"health": (), "error": None} | ({"contrast": None} if view is None else {})
        items = [
            item if item.entry is None else replace(item, entry=replace(item.entry, **none))
            for item in items
        ]
    return replace(reading, items=tuple(items))


def _unjudged(items: Sequence[Item]) -> list[str]:
    """What is known of photos whose prediction is neither right nor wrong."""
    if all(item.label is None for item in items):
        return ["No photo has a label: photos are taken by their predicted class."]
    unknown = sum(item.right is None and item.label is not None for item in items)
    bare = sum(item.label is None for item in items)
    found = (
        (unknown, "Photos whose label is none of the model's classes"),
        (bare, "Photos without a label"),
    )
    return [f"{what}, taken by their predicted class: {n:,}." for n, what in found if n]
