"""The tables of the reproduction in Markdown, with the paper's numbers for comparison."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from benchmarks.common.markdown import table
from benchmarks.paper.reproduced import Run
from scorecam.metrics.statistics import Interval

NAMES = {
    "gradient": "Gradient",
    "smoothgrad": "SmoothGrad",
    "integrated": "Integrated Gradients",
    "mask": "Mask",
    "rise": "RISE",
    "gradcam": "Grad-CAM",
    "gradcam++": "Grad-CAM++",
    "scorecam": "**Score-CAM** (`official`)",
    "scorecam:variant=official": "**Score-CAM** `official`",
    "scorecam:variant=algorithm1": "**Score-CAM** `algorithm1`",
    "scorecam:variant=centred": "**Score-CAM** `centred`",
    "scorecam:variant=consensus": "**Score-CAM** `consensus`",
    "scorecam:variant=increase": "Score-CAM `increase`",
    "scorecam:variant=literal": "Score-CAM `literal`",
    "xgradcam": "XGrad-CAM",
    "layercam": "Layer-CAM",
    "occlusion": "Occlusion",
    "random": "*random*",
    "uniform": "*uniform*",
    "centre": "*centre*",
    "edges": "*edges*",
    "fakecam": "*Fake-CAM*",
    "mean": "*mean*",
}
"""The titles of methods, in the order of the tables."""

PAPER = {
    "average_drop": {
        "mask": 63.5, "rise": 47.0, "gradcam": 47.8, "gradcam++": 45.5, "scorecam": 31.5,
    },
    "average_increase": {
        "mask": 5.29, "rise": 14.0, "gradcam": 19.6, "gradcam++": 18.9, "scorecam": 30.6,
    },
    "energy_box": {
        "gradient": 41.3, "smoothgrad": 42.4, "integrated": 44.7, "mask": 56.1, "rise": 36.3,
        "gradcam": 48.1, "gradcam++": 49.3, "scorecam": 63.7,
    },
    "insertion": {"gradcam": 35.7, "gradcam++": 34.6, "scorecam": 38.6},
    "deletion": {"gradcam": 8.9, "gradcam++": 8.2, "scorecam": 7.7},
}  # fmt: skip
"""In per cent: VGG16, ILSVRC2012 validation (Wang et al. 2020, Tables 1, 2 and 3)."""

TITLES = {
    "average_drop": "Average Drop ↓",
    "average_increase": "Average Increase ↑",
    "average_gain": "Average Gain ↑",
    "insertion": "Insertion ↑",
    "deletion": "Deletion ↓",
    "energy_box": "Energy in the box ↑",
    "energy_mask": "Energy in the mask ↑",
    "hit_box": "Maximum in the box ↑",
    "iou_mask": "IoU with the mask ↑",
}
FIVE = ("average_drop", "average_increase", "insertion", "deletion", "energy_mask")
LOWER = {"average_drop", "deletion"}


def cell(mean: Interval, photos: int | None = None) -> str:
    """A mean in per cent with its interval, and its number of photos if that is not `photos`."""
    if mean.n == 0:
        return ""
    text = f"{100 * mean.mean:.1f}"
    if not math.isnan(mean.low):
        text += f" [{100 * mean.low:.1f}, {100 * mean.high:.1f}]"
    return text if photos in (None, mean.n) else f"{text} (n = {mean.n})"


def difference(mean: Interval, outcome: str) -> str:
    """A difference in percentage points, marked where the interval excludes 0."""
    if mean.n == 0:
        return ""
    better = (mean.mean < 0) == (outcome in LOWER)
    mark = ("**better**" if better else "**worse**") if mean.excludes(0.0) else "even"
    return f"{100 * mean.mean:+.1f} [{100 * mean.low:+.1f}, {100 * mean.high:+.1f}] {mark}"


def paper_table(run: Run, outcomes: Sequence[str], keep: Callable[[str], bool]) -> str:
    """The paper's numbers and ours, with the controls last."""
    head = ["method", "photos"]
    for outcome in outcomes:
        head += [f"paper, {TITLES[outcome]}"] if outcome in PAPER else []
        head.append(f"here, {TITLES[outcome]}")
    rows: list[list[str]] = []
    for method, title in NAMES.items():
        means = [run.mean(method, outcome, keep) for outcome in outcomes]
        if not any(mean.n for mean in means):
            continue
        photos = max(mean.n for mean in means)
        row = [title, str(photos)]
        for outcome, mean in zip(outcomes, means, strict=True):
            if outcome in PAPER:
                theirs = PAPER[outcome].get(method)
                row.append("" if theirs is None else f"{theirs:g}")
            row.append(cell(mean, photos))
        rows.append(row)
    return table(head, rows)


def against_gradcam(run: Run, methods: Sequence[str], keep: Callable[[str], bool]) -> str:
    """Differences to Grad-CAM on the five metrics."""
    rows: list[list[str]] = []
    for method in methods:
        means = [run.against(method, "gradcam", outcome, keep) for outcome in FIVE]
        if any(each.n for each in means):
            count = str(max(each.n for each in means))
            cells = [difference(each, o) for each, o in zip(means, FIVE, strict=True)]
            rows.append([NAMES[method], count, *cells])
    return table(["against Grad-CAM", "photos", *(TITLES[outcome] for outcome in FIVE)], rows)


def everything(_: str) -> bool:
    """Keep every photo."""
    return True


VARIANTS = (
    "scorecam",
    "scorecam:variant=algorithm1",
    "scorecam:variant=centred",
    "scorecam:variant=consensus",
    "scorecam:variant=increase",
    "scorecam:variant=literal",
)


def chances(run: Run) -> str:
    """The values of a uniform map."""
    some = next(iter(run.values), "")
    box, mask = run.mean(some, "chance_box"), run.mean(some, "chance_mask")
    return (
        f"Chance, the object's share of the input: {cell(box)} for boxes, {cell(mask)} for masks.\n"
    )
