"""What is wrong with a model, read from a run: findings, ranked, with their evidence."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from scorecam.audit.classes import Classes, by_class
from scorecam.audit.clusters import Cluster, clusters
from scorecam.audit.doubts import confused, fragile
from scorecam.audit.finding import Finding, Found
from scorecam.audit.items import Item
from scorecam.audit.places import same_region, subgroup
from scorecam.audit.reading import Reading, read
from scorecam.audit.reasons import other_object, wrong_reason
from scorecam.audit.where import instead


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

    reading: Reading
    findings: tuple[Finding, ...]
    remarks: tuple[str, ...]
    wrong: Mapping[str, tuple[str, ...]]
    classes: Classes
    clusters: Mapping[str, tuple[Cluster, ...]] = field(
        default_factory=dict[str, tuple[Cluster, ...]]
    )

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
            "run": self.folder.name,
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
    reading = read(Path(run), method)
    items = reading.items
    classes = by_class(items)
    regions = same_region(classes)
    found: list[Found] = [
        other_object(classes),
        regions,
        wrong_reason(classes),
        subgroup(classes, regions.findings),
        confused(items, classes),
        fragile(items),
    ]
    findings = sorted((each for one in found for each in one.findings), key=lambda f: f.rank)
    remarks = [*reading.remarks, *(remark for one in found for remark in one.remarks)]
    if all(item.right is None for item in items):
        remarks.append("No photo has a label: photos are taken by their predicted class.")
    return Audit(
        reading,
        tuple(findings),
        tuple(dict.fromkeys(remarks)),
        {item.id: instead(item, classes.title) for item in items if item.right is False},
        classes,
        {each.title: clusters(each.items) for each in classes.all},
    )
