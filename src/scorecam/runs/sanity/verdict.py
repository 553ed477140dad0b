"""Which methods pass the sanity check, by which rule; and the check's page."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from scorecam.metrics.similarity import SIMILARITIES
from scorecam.runs import markdown
from scorecam.runs.markdown import Markdown, words
from scorecam.runs.tables import ANOTHER, CHANCE, Point

Verdict = str
PASSES = 0.5
"""A method passes where, every stage drawn anew, Spearman's interval lies below this."""


def verdict(points: Sequence[Point], method: str, mode: str, stage: str) -> Verdict:
    """Whether a method's maps have lost their likeness to the trained network's.

    Args:
        mode, stage: by which network: the one whose every stage was drawn anew, or the one trained
            on shuffled labels.

    "passes" where the interval of Spearman's mean lies below `PASSES`, "fails" where it lies
    above, "undecided" where it holds it or most maps were the same everywhere.
    """
    for point in points:
        if (point.method, point.mode, point.stage, point.measure) == (
            method,
            mode,
            stage,
            "spearman",
        ):
            found = point.found
            if point.undefined > found.n or not found.n:
                return "undecided"
            low = found.mean if math.isnan(found.low) else found.low
            high = found.mean if math.isnan(found.high) else found.high
            if high < PASSES:
                return "passes"
            return "fails" if low > PASSES else "undecided"
    return "undecided"


def table(
    points: Sequence[Point],
    verdicts: Mapping[str, Verdict],
    data: Mapping[str, Verdict],
    photos: int,
) -> Markdown:
    """Everything in Markdown.

    Args:
        verdicts: on weights drawn anew, by method.
        data: on the network trained on shuffled labels; empty without one.
    """
    about = markdown.paragraph(
        "How alike maps of other networks are to the trained network's: 1 is the same. A method "
        "passes where, every stage drawn anew, the 95 % interval of Spearman's mean lies below "
        "{}; and likewise against the same network trained on shuffled labels. In "
        "brackets the interval; (n undefined) where maps were the same everywhere. The last line "
        "of each table compares the trained network's own maps of different photos: likeness down "
        "to that says nothing.",
        f"{PASSES:g}",
    )
    head = ["method", "weights drawn anew", *(["labels shuffled"] if data else [])]
    rows = [[name, found, *([data[name]] if data else [])] for name, found in verdicts.items()]
    parts = [markdown.heading(1, "Sanity check on {} photos", photos), about]
    if data or any(point.mode == "cascading" for point in points):
        parts.append(markdown.table(head, rows))
    found = {(p.method, p.mode, p.stage, p.measure): p for p in points}
    for mode in dict.fromkeys(point.mode for point in points if point.mode != CHANCE):
        stages = dict.fromkeys(point.stage for point in points if point.mode == mode)
        for measure in SIMILARITIES:
            parts.append(markdown.heading(2, "{}, {}", mode.capitalize(), measure))
            lines: list[list[str]] = [
                [stage, *(_cell(found[method, mode, stage, measure]) for method in verdicts)]
                for stage in stages
            ]
            chance = [found.get((method, CHANCE, ANOTHER, measure)) for method in verdicts]
            if all(chance):
                lines.append([ANOTHER, *(_cell(point) for point in chance if point)])
            parts.append(markdown.table(["stage", *verdicts], lines))
    return markdown.document(*parts)


def _cell(point: Point) -> Markdown:
    found = point.found
    text = words("{}", f"{found.mean:.2f}" if found.n else "–")
    if found.n and not math.isnan(found.low):
        text = words("{} [{}, {}]", text, f"{found.low:.2f}", f"{found.high:.2f}")
    return words("{} ({} undefined)", text, point.undefined) if point.undefined else text
