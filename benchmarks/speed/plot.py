"""The plot of speed against fidelity, from the results of measure.py.

python -m benchmarks.speed.plot benchmarks/results/speed/speed-cpu.json
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from pathlib import Path
from typing import Any

import matplotlib as mpl

from benchmarks.common.paths import IMAGES, RESULTS
from benchmarks.speed.figures import summarised

mpl.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, NullLocator

MARKERS = {
    "exact-eager": "o",
    "exact-auto": "s",
    "exact-half": "D",
    "fast": "^",
    "fast16": "*",
    "gradcam": "X",
}
LABELS = {
    "exact-eager": "exact, eager",
    "exact-auto": "exact",
    "exact-half": "exact, precision auto",
    "fast": "fast, new process",
    "fast16": "fast, {} photos at once",
    "gradcam": "Grad-CAM, first call",
}
COLOURS = ("#0b6e99", "#c2410c", "#4d7c0f", "#7e22ce", "#a16207", "#475569")
NAMES = {
    "lite0": "EfficientNet-Lite0",
    "resnet50": "ResNet50",
    "vgg16": "VGG16",
    "dinov2": "DINOv2-S/14",
}
NINES = 6
"""The number of nines at which closer maps are drawn as well."""


def main() -> None:
    """Read the results, and draw the plot."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "results", nargs="?", type=Path, default=RESULTS / "speed" / "speed-cpu.json"
    )
    parser.add_argument("--out", type=Path, default=IMAGES / "speed.png")
    options = parser.parse_args()
    if not options.results.is_file():
        sys.exit(f"There is no {options.results}. Run `python -m benchmarks.speed.measure` first.")
    report = summarised(json.loads(options.results.read_text()))
    options.out.parent.mkdir(parents=True, exist_ok=True)
    plt.rcParams.update({"font.family": "sans-serif", "font.size": 10, "axes.edgecolor": "#888888"})
    draw(report).savefig(options.out, dpi=100, facecolor="white")


def draw(report: dict[str, Any]) -> plt.Figure:
    """One point per network and configuration, with a thin line down to the worst photo."""
    figure, axes = plt.subplots(figsize=(9, 5.2), dpi=100)
    networks = {name: e["rows"] for name, e in report["networks"].items() if e.get("rows")}
    labels: dict[str, str] = {}
    for colour, rows in zip(COLOURS, networks.values(), strict=False):
        for key, marker in MARKERS.items():
            row = rows.get(key, {})
            pearson = row.get("fidelity", {}).get("pearson")
            if pearson is None or "ratio" not in row:
                continue  # a failed run, or a constant map
            x, y = row["ratio"]["median"], nines(pearson["median"])
            size = 130 if marker == "*" else 60
            axes.vlines(x, nines(pearson["worst"]), y, color=colour, linewidth=1, alpha=0.5)
            axes.scatter(
                x, y, size, colour, marker=marker, edgecolors="white", linewidths=0.8, zorder=3
            )
            labels[key] = LABELS[key].format(f"{row.get('photos', 1):.0f}")
    scales(axes, report)
    legends(axes, dict(zip(networks, COLOURS, strict=False)), labels)
    figure.subplots_adjust(left=0.125, right=0.72, top=0.9, bottom=0.115)
    return figure


def nines(pearson: float) -> float:
    """0.9 → 1, 0.99 → 2, up to `NINES`."""
    return NINES if pearson >= 1 - 10**-NINES else -math.log10(1 - pearson)


def scales(axes: plt.Axes, report: dict[str, Any]) -> None:
    """Logarithmic axes with labelled ticks."""
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}×"))
    axes.xaxis.set_minor_locator(NullLocator())
    low, high = axes.get_xlim()
    axes.set_xlim(min(low, 0.8), max(high, 20))
    axes.axvline(1, color="#888888", linewidth=1, linestyle="--", zorder=1)
    axes.set_yticks(range(NINES + 1), ["0", *(f"{1 - 10**-n:.{n}f}" for n in range(1, NINES)), "1"])
    axes.set_ylim(min(-0.2, axes.get_ylim()[0]), NINES + 0.35)
    axes.grid(color="#e5e5e5", linewidth=0.8)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    versions = report["versions"]
    axes.set_xlabel(f"times as fast as torchcam {versions['torchcam']}")
    axes.set_ylabel("correlation with the exact map, median")
    machine = report["machine"]
    where = machine.get("gpu") or f"{machine['threads']} processor threads"
    axes.set_title(f"Score-CAM: speed and fidelity ({where})", loc="left", fontsize=12)


def legends(axes: plt.Axes, colours: dict[str, str], labels: dict[str, str]) -> None:
    """Colours for networks and markers for configurations, to the right of the plot."""
    patches = [
        Line2D([], [], color=colour, linewidth=6, label=NAMES.get(name, name))
        for name, colour in colours.items()
    ]
    points = [
        Line2D(
            [],
            [],
            linestyle="",
            color="#555555",
            marker=marker,
            markersize=11 if marker == "*" else 8,
            label=labels[key],
        )
        for key, marker in MARKERS.items()
        if key in labels
    ]
    quiet = {"frameon": False, "alignment": "left", "borderaxespad": 0, "fontsize": 9}
    first = axes.legend(
        handles=patches, title="Network", bbox_to_anchor=(1.03, 1), loc="upper left", **quiet
    )
    first.get_title().set_fontweight("bold")
    axes.add_artist(first)
    second = axes.legend(
        handles=points, title="Configuration", bbox_to_anchor=(1.03, 0.7), loc="upper left", **quiet
    )
    second.get_title().set_fontweight("bold")
    axes.text(
        1.03,
        0.02,
        "Points: median photo.\nLines: down to the worst photo.\nAt 1: six nines or more.",
        transform=axes.transAxes,
        fontsize=8.5,
        color="#555555",
        va="bottom",
    )


if __name__ == "__main__":
    main()
