"""`audit`: findings about a model, from a finished or unfinished run."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from scorecam.audit.finding import LEVELS, Finding
from scorecam.audit.item import Item
from scorecam.audit.map_clusters import Cluster
from scorecam.audit.map_location import where_instead
from scorecam.audit.photos import Photos
from scorecam.audit.photos_by_class import PhotosByClass, by_class
from scorecam.audit.reading import MethodResults, read
from scorecam.audit.rules import RULES
from scorecam.base.wording import encodable, excerpt, summary


@dataclass(frozen=True, eq=False)
class Audit:
    """The result of an audit.

    Args:
        reading: the run's results for the audited method.
        findings: most severe first.
        remarks: what is missing, left out or could not be tested.
        wrong: for every wrong prediction, by photo id, sentences about where the model looked.
        classes: the photos by class.
        clusters: the clusters of each class's maps, by title.
    """

    reading: MethodResults
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
        """The most severe level; None without findings."""
        return self.findings[0].level if self.findings else None

    def plain(self) -> dict[str, Any]:
        """The content of `audit.json`: plain values without the maps."""
        names = {item.id: item.name for item in self.items}
        return {
            "schema": 1,
            "run": encodable(self.folder.name),
            "method": self.reading.method,
            "photos": self.reading.photos,
            "read": len(self.items),
            "items": [finding.plain() for finding in self.findings],
            "wrong": [
                {"id": sample, "name": names[sample], "words": list(sentences)}
                for sample, sentences in self.wrong.items()
            ],
            "clusters": {
                title: [
                    {"part": cluster.part, "photos": list(cluster.photos)} for cluster in clusters
                ]
                for title, clusters in self.clusters.items()
            },
            "remarks": list(self.remarks),
        }


def audit(run: str | os.PathLike[str], method: str | None = None) -> Audit:
    """Look for problems of a model in the results of a run; the model itself is not needed.

    Args:
        run: the folder of `scorecam evaluate`. It may be unfinished.
        method: the method to audit; None for the run's first.

    Returns:
        Findings ranked by level, then by rule, then by size.

    Raises:
        RunError: the folder isn't a run, has another schema or is damaged; or the run lacks the
            method or its maps.
        MissingExtra: scipy or scikit-learn is not installed.
    """
    reading = _without_other_methods(read(Path(run), method))
    items = reading.items
    classes = by_class(items)
    photos = Photos(items, classes)
    results = [rule.find(photos) for rule in RULES.values()]
    remarks = [*reading.remarks, *(remark for result in results for remark in result.remarks)]
    remarks += _unlabelled(items)
    return Audit(
        reading,
        _ranked(finding for result in results for finding in result.findings),
        tuple(dict.fromkeys(remarks)),
        wrong={item.id: where_instead(item, classes) for item in items if item.right is False},
        classes=classes,
        clusters={group.title: group.clusters for group in classes.all},
    )


def _ranked(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """By level, then in the order of the rules, then the largest effect first."""
    codes = list(RULES)
    return tuple(
        sorted(
            findings,
            key=lambda finding: (
                LEVELS.index(finding.level),
                codes.index(finding.rule),
                -finding.size,
            ),
        )
    )


def _without_other_methods(reading: MethodResults) -> MethodResults:
    """Drop the parts of gallery entries that are about other methods' maps.

    The error and the health notes are about the run's first Score-CAM method. The contrast is for
    Score-CAM methods only.
    """
    variants = reading.variants
    view = variants[reading.method]
    first = next((name for name, variant in variants.items() if variant is not None), None)
    items = [replace(item, view=view) for item in reading.items]
    if reading.method != first:
        dropped = {"health": (), "error": None} | ({"contrast": None} if view is None else {})
        items = [
            item if item.entry is None else replace(item, entry=replace(item.entry, **dropped))
            for item in items
        ]
    return replace(reading, items=tuple(items))


def _unlabelled(items: Sequence[Item]) -> list[str]:
    """Remarks about photos with predictions that are neither right nor wrong."""
    if all(item.label is None for item in items):
        return ["No photo has a label: photos are grouped by their predicted class."]
    unknown = sum(item.right is None and item.label is not None for item in items)
    unlabelled = sum(item.label is None for item in items)
    counts = (
        (unknown, "Photos with a label that the model does not know"),
        (unlabelled, "Photos without a label"),
    )
    return [f"{what}, grouped by their predicted class: {n:,}." for n, what in counts if n]
