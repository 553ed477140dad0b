"""The tables of docs/centred.md about other candidates and about few masks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.common.markdown import table, with_interval
from benchmarks.paper.readings import OUTCOMES
from benchmarks.paper.reproduction_tables import FIVE, LOWER, TITLES
from benchmarks.speed.fidelity_report import MapFidelity, summary

STATED = 0.12
"""The stated error at which `budget="fast"` stops."""

CLASSES = {"all": (0, 1, 2), "first": (0,), "second": (1,), "random of the top 20": (2,)}
"""Classes of `fidelity.py` by rank."""


def tried_table(results: Mapping[str, Any]) -> str:
    """Every candidate of `readings.py --candidates centred`, a table per network and rival.

    Differences with 95 % intervals; * is better, ! is worse.
    """
    parts: list[str] = []
    titles = [TITLES[outcome] for outcome in FIVE]
    for network, found in results.items():
        for rival, title in (("official", "`official`"), ("gradcam", "Grad-CAM")):
            rows = [
                [name, *(_difference(values[one], one, rival) for one in OUTCOMES)]
                for name, values in found["candidates"].items()
                if name != rival
            ]
            head = [f"{network}, {found['photos']} photos: minus {title}", *titles]
            parts.append(table(head, rows))
    return "\n".join(parts)


def _difference(values: Mapping[str, Any], outcome: str, rival: str) -> str:
    gap = values[f"against_{rival}"]
    mark = ""
    if gap["low"] > 0 or gap["high"] < 0:
        mark = " *" if (gap["high"] < 0) == (outcome in LOWER) else " !"
    return with_interval(gap, "+") + mark


def few_masks_table(results: Mapping[str, Any]) -> str:
    """How close the maps of `fidelity.py --kinds replayed` are to the exact maps.

    Passes are the masks, the image twice, and the empty image.
    """
    rows = [
        [network, kind, title, *_closeness([MapFidelity(**one) for one in chosen])]
        for network, kinds in results["networks"].items()
        for kind, maps in kinds.items()
        for title, ranks in CLASSES.items()
        if (chosen := [one for one in maps if one["rank"] in ranks])
    ]
    head = [
        "network",
        "budget and variant",
        "class",
        "maps",
        "passes: median (most)",
        "Pearson: median / 5 % / worst",
        "top-20 % IoU: median / 5 % / worst",
        "true error: median / 90 % / worst",
        "error ≤ stated",
        f"stated ≤ {STATED}",
        f"of these, error ≤ {STATED}",
    ]
    return table(head, rows)


def _closeness(maps: Sequence[MapFidelity]) -> list[str]:
    figures = summary(maps)
    masks, most = figures["masks"]
    stated = [each for each in maps if each.estimate <= STATED]
    within = sum(each.error <= STATED for each in stated)
    return [
        str(len(maps)),
        f"{masks + 3:.0f} ({most + 3})",
        " / ".join(f"{value:.4f}" for value in figures["pearson"]),
        " / ".join(f"{value:.3f}" for value in figures["iou"]),
        " / ".join(f"{value:.3f}" for value in figures["error"]),
        f"{sum(each.error <= each.estimate for each in maps)} of {len(maps)}",
        f"{len(stated)} of {len(maps)}",
        f"{within} of {len(stated)}",
    ]
