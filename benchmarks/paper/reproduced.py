"""The runs of the reproduction, read from their folders."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from scorecam.metrics.statistics import Interval, interval, paired

NETWORKS = ("lite0", "lite1", "lite2")
EXACT = ("cams", "cheap", "expensive", "others")
"""The groups of reproduce.py with the exact budget, on composites."""

Values = dict[str, dict[str, dict[str, float]]]
"""By method, by outcome, by photo."""


@dataclass(frozen=True)
class Run:
    """The values of all runs of one network.

    Args:
        values: by method, outcome and photo.
        groups: the size group of each photo.
        about: photos, precision and runtime of each run.
        shows: the cut-out that each photo shows; photos of one cut-out are not independent.
        undefined: photos without a value, by method and outcome.
    """

    values: Values
    groups: dict[str, str]
    about: tuple[str, ...] = ()
    shows: dict[str, str] = field(default_factory=dict[str, str])
    undefined: dict[tuple[str, str], int] = field(default_factory=dict[tuple[str, str], int])

    def of(
        self, method: str, outcome: str, keep: Callable[[str], bool] = lambda _: True
    ) -> dict[str, float]:
        """The values by photo, of the photos to keep."""
        by_photo = self.values.get(method, {}).get(outcome, {})
        return {name: value for name, value in by_photo.items() if keep(name)}

    def mean(
        self, method: str, outcome: str, keep: Callable[[str], bool] = lambda _: True
    ) -> Interval:
        """The mean with its interval."""
        by_photo = self.of(method, outcome, keep)
        return interval(list(by_photo.values()), clusters=self._shown(by_photo))

    def against(
        self, method: str, other: str, outcome: str, keep: Callable[[str], bool] = lambda _: True
    ) -> Interval:
        """The mean of the differences on the same photos."""
        one, two = self.of(method, outcome, keep), self.of(other, outcome, keep)
        both = sorted(one.keys() & two.keys())
        return paired(
            [one[name] for name in both],
            [two[name] for name in both],
            clusters=self._shown(both),
        )

    def _shown(self, names: Iterable[str]) -> list[str]:
        return [self.shows.get(Path(name).stem, name) for name in names]


def load(folders: Sequence[Path], shows: dict[str, str]) -> Run:
    """Several runs of one network as one. Where two have the same value, the first counts."""
    values: Values = {}
    groups: dict[str, str] = {}
    about: list[str] = []
    undefined: dict[tuple[str, str], int] = {}
    for folder in folders:
        file = folder / "results.parquet"
        if not file.exists():
            continue
        about.append(_about(folder))
        for row in pq.read_table(file).to_pylist():
            method = ":".join(
                part
                for part in row["method"].split(":")
                if not part.startswith(("samples=", "steps=", "masks=", "stride="))
            )
            if row["value"] is None:
                key = method, row["metric"]
                undefined[key] = undefined.get(key, 0) + 1
                continue
            outcome = values.setdefault(method, {}).setdefault(row["metric"], {})
            outcome.setdefault(row["name"], row["value"])
            if row["group"]:
                groups[row["name"]] = row["group"]
    return Run(values, groups, tuple(about), shows, undefined)


def _about(folder: Path) -> str:
    """The photos, precision and runtime of a run."""
    summary = json.loads((folder / "summary.json").read_text("utf-8"))
    config = summary["config"]
    settings = f"{config['precision used']} on {config['runtime used']}"
    return f"{folder.name}: {summary['done']} photos, {settings}"


def load_networks(work: Path, shows: dict[str, str], groups: Sequence[str]) -> dict[str, Run]:
    """The runs of these groups by network; networks without runs are left out."""
    runs = {
        network: load([work / f"{network}-{group}" for group in groups], shows)
        for network in NETWORKS
    }
    return {network: run for network, run in runs.items() if run.values}


def cut_outs(photos: Path) -> dict[str, str]:
    """The cut-out that each photo shows, by the photo's name."""
    with (photos / "composites/manifest.csv").open(encoding="utf-8", newline="") as file:
        return {row["name"]: row["stamp"] for row in csv.DictReader(file)}


def chosen_photos() -> set[str]:
    """The photos on which `consensus` was chosen, by name without suffix."""
    return set(Path(__file__).with_name("chosen.txt").read_text("utf-8").split())


def numbers(run: Run) -> dict[str, Any]:
    """The mean of every method and outcome, for reproduction.json."""
    return {
        method: {
            outcome: run.mean(method, outcome).plain()
            | {"undefined": run.undefined.get((method, outcome), 0)}
            for outcome in outcomes
        }
        for method, outcomes in run.values.items()
    }
