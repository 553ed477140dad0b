"""The figure of docs/trust.md: the ROC curve, and the doubt of every map."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.trust.check_rates import roc
from benchmarks.trust.check_records import PROBABILITY, Record, doubt, is_sound
from scorecam.trust.criteria import CRITERIA, REFUSED, WEAK


def draw(records: Sequence[Record], fine_tuned: Sequence[Record], path: Path) -> None:
    """Draw the ROC curve of the judged maps, and the doubt of every map.

    Args:
        records: the judged maps.
        fine_tuned: the maps of fine-tuned networks, for the second plot only.
    """
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    plt.rcParams.update({"font.family": "sans-serif", "font.size": 10, "axes.edgecolor": "#888888"})
    figure, (left, right) = plt.subplots(
        1, 2, figsize=(11, 4.8), dpi=100, width_ratios=(1, 1.35), layout="constrained"
    )
    _draw_roc(left, records)
    _draw_doubts(right, [*records, *fine_tuned])
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, facecolor="white")


def _draw_roc(axes: Any, records: Sequence[Record]) -> None:
    kinds = {
        "all": (lambda _: True, "#0b6e99"),
        "randomised": (lambda r: not r["kind"].startswith("memorised"), "#4d7c0f"),
        "shuffled labels": (lambda r: r["kind"].startswith("memorised"), "#c2410c"),
    }
    for name, (chosen, colour) in kinds.items():
        part = [r for r in records if is_sound(r) or chosen(r)]
        points, area = roc(part, PROBABILITY)
        axes.plot(*zip(*points, strict=True), color=colour, label=f"{name}: AUC {area:.3f}")
        bad = [doubt(r, CRITERIA) >= REFUSED for r in part if not is_sound(r)]
        good = [doubt(r, CRITERIA) >= REFUSED for r in part if is_sound(r)]
        axes.plot([np.mean(good)], [np.mean(bad)], "o", color=colour)
    axes.axhline(0.95, color="#bbbbbb", lw=0.8, ls=":")
    axes.axvline(0.10, color="#bbbbbb", lw=0.8, ls=":")
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="equal")
    axes.set_xlabel("share of sound networks' maps refused")
    axes.set_ylabel("share of broken networks' maps refused")
    axes.set_title("Without the rule about probability", fontsize=10)
    axes.legend(loc="lower right", frameon=False, fontsize=9)


def _draw_doubts(axes: Any, records: Sequence[Record]) -> None:
    kinds = sorted(
        {r["kind"] for r in records},
        key=lambda kind: (not kind.startswith("trained"), kind.startswith("fine-tuned"), kind),
    )
    random = np.random.default_rng(0)
    for place, kind in enumerate(reversed(kinds)):
        for garments, marker in ((False, "o"), (True, "^")):
            own = [
                min(doubt(r, CRITERIA), 4.0)
                for r in records
                if r["kind"] == kind and (r["family"] == "garments") == garments
            ]
            jitter = place + random.uniform(-0.25, 0.25, len(own))
            colour = "#0b6e99" if is_sound({"kind": kind}) else "#c2410c"
            axes.plot(own, jitter, marker, color=colour, ms=3.5, alpha=0.55, mew=0)
    axes.plot([], [], "o", color="#555555", ms=4, label="photographs, EfficientNet-Lite")
    axes.plot([], [], "^", color="#555555", ms=4, label="garments, a small network")
    for cut, name in ((WEAK, "weak"), (REFUSED, "don't show")):
        axes.axvline(cut, color="#888888", lw=0.8)
        axes.text(cut + 0.03, len(kinds) - 0.4, name, fontsize=8, color="#555555")
    axes.set_yticks(range(len(kinds)), list(reversed(kinds)), fontsize=9)
    axes.set(ylim=(-0.6, len(kinds) + 0.3), xlim=(-0.05, 4.05))
    axes.set_xlabel("doubt (4 and more at 4)")
    axes.legend(loc="upper center", frameon=False, fontsize=8, bbox_to_anchor=(0.5, -0.13), ncols=2)
