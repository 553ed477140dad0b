"""The results of a sanity check as Markdown, for people."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from scorecam.metrics.similarity import SIMILARITIES
from scorecam.runs import markdown
from scorecam.runs.markdown import Markdown, words
from scorecam.runs.sanity.verdict import PASSES, Verdict
from scorecam.runs.tables import ANOTHER, CHANCE, Point


def table(
    points: Sequence[Point],
    verdicts: Mapping[str, Verdict],
    data: Mapping[str, Verdict],
    photos: int,
) -> Markdown:
    """The verdicts, and one table of means per mode and similarity.

    Args:
        verdicts: on re-initialised weights, by method.
        data: the same on the network trained on shuffled labels; empty without one.
        photos: the number of photos.
    """
    about = markdown.paragraph(
        "How similar the maps of other networks are to those of the trained network: 1 is "
        "identical. A method passes if, with every stage re-initialised, the 95 % interval of "
        "Spearman's mean is below {}; the same rule applies to the network trained on shuffled "
        "labels. Intervals are in brackets; (n undefined) counts photos with a constant map. The "
        "last line of each table compares the trained network's own maps of different photos: "
        "similarity down to that level means nothing.",
        f"{PASSES:g}",
    )
    parts = [markdown.heading(1, "Sanity check on {} photos", photos), about]
    if data or any(point.mode == "cascading" for point in points):
        head = ["method", "weights re-initialised", *(["labels shuffled"] if data else [])]
        lines = [[name, own, *([data[name]] if data else [])] for name, own in verdicts.items()]
        parts.append(markdown.table(head, lines))
    by_key = {(p.method, p.mode, p.stage, p.measure): p for p in points}
    for mode in dict.fromkeys(point.mode for point in points if point.mode != CHANCE):
        stages = dict.fromkeys(point.stage for point in points if point.mode == mode)
        for measure in SIMILARITIES:
            parts.append(markdown.heading(2, "{}, {}", mode.capitalize(), measure))
            means: list[list[str]] = [
                [stage, *(_cell(by_key[method, mode, stage, measure]) for method in verdicts)]
                for stage in stages
            ]
            chance = [by_key.get((method, CHANCE, ANOTHER, measure)) for method in verdicts]
            if all(chance):
                means.append([ANOTHER, *(_cell(point) for point in chance if point)])
            parts.append(markdown.table(["stage", *verdicts], means))
    return markdown.document(*parts)


def _cell(point: Point) -> Markdown:
    mean = point.found
    text = words("{}", f"{mean.mean:.2f}" if mean.n else "–")
    if mean.n and not math.isnan(mean.low):
        text = words("{} [{}, {}]", text, f"{mean.low:.2f}", f"{mean.high:.2f}")
    return words("{} ({} undefined)", text, point.undefined) if point.undefined else text
