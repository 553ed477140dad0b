"""How close maps with a reduced budget are to exact maps, as Markdown tables."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.speed.rows import Json

TOLERANCE = 0.02
PEARSON, IOU = (0.998, 0.99, 0.97), 0.93
"""The bars of the median, the 5th percentile and the worst Pearson, and of the median IoU."""


@dataclass(frozen=True)
class MapFidelity:
    """How close one map with a reduced budget is to the exact map.

    Args:
        photo: its number.
        rank: 0 for the predicted class, 1 for the second, 2 for a random one of the top 20.
        masks: the number of masks scored.
        live: the number of masks in the exact bank.
        choosing: seconds for choosing masks and predicting the others, without forward passes.
        estimate: the stated error.
        error: the true error, the largest difference of the scaled maps.
    """

    photo: int
    rank: int
    masks: int
    live: int
    pearson: float
    iou: float
    estimate: float
    error: float
    choosing: float | None = None


def fraction(values: Sequence[float], at: float) -> float:
    """The quantile at a fraction from 0 to 1."""
    return float(np.quantile(np.asarray(values), at))


def summary(maps: Sequence[MapFidelity]) -> Json:
    """Median, tail and worst of every figure."""
    if not maps:
        return {}
    pearson = [each.pearson for each in maps]
    iou = [each.iou for each in maps]
    figures = [statistics.median(pearson), fraction(pearson, 0.05), min(pearson)]
    short = [each for each in maps if each.pearson < PEARSON[2]]
    return {
        "maps": len(maps),
        "pearson": figures,
        "iou": [statistics.median(iou), fraction(iou, 0.05), min(iou)],
        "reached": all(np.greater_equal(figures, PEARSON)) and statistics.median(iou) >= IOU,
        "short": len(short),
        "short_known": sum(each.error <= each.estimate for each in short),
        "error": [
            statistics.median(each.error for each in maps),
            fraction([each.error for each in maps], 0.9),
            max(each.error for each in maps),
        ],
        "estimate": statistics.median(each.estimate for each in maps),
        "honest": statistics.mean(each.error <= each.estimate for each in maps),
        "masks": [
            statistics.median(each.masks for each in maps),
            max(each.masks for each in maps),
        ],
        "share": statistics.median(each.masks / each.live for each in maps),
        "choosing": statistics.median(each.choosing or 0.0 for each in maps),
        "within": statistics.mean(each.error <= TOLERANCE for each in maps),
    }


def of_networks(report: Json) -> Iterator[tuple[str, str, Json]]:
    """Network, kind and summary of every line."""
    for name, kinds in report.get("networks", {}).items():
        for kind, rows in kinds.items():
            yield name, kind, summary([MapFidelity(**row) for row in rows])


def table(report: Json) -> Iterator[str]:
    """The table of a file of results, line by line."""
    yield (
        "| | maps | masks (largest) | share of all | Pearson: median, 5th percentile, worst | "
        "top-20 % IoU | largest error: median, 90th percentile, worst | stated error | "
        "error ≤ stated | choosing, ms |"
    )
    yield "|---" * 10 + "|"
    for name, kind, figures in of_networks(report):
        yield row_of(f"{name}, {kind}", figures)


def row_of(label: str, figures: Json) -> str:
    """One line of a table."""
    if not figures:
        return f"| {label} | 0 |"
    masks, most = figures["masks"]
    numbers = [" / ".join(f"{value:.4f}" for value in figures["pearson"])]
    numbers.append(" / ".join(f"{value:.3f}" for value in figures["iou"]))
    numbers.append(" / ".join(f"{value:.3f}" for value in figures["error"]))
    if ", tolerance" in label:
        numbers[-1] += f"; at most {TOLERANCE:g} in {figures['within']:.0%}"
    return (
        f"| {label} | {figures['maps']} | {masks:.0f} ({most}) | {figures['share']:.0%} | "
        f"{' | '.join(numbers)} | {figures['estimate']:.3f} | {figures['honest']:.0%} | "
        + (f"{figures['choosing'] * 1000:.0f} |" if figures["choosing"] else " |")
    )
