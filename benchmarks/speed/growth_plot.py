"""The plot of how time and memory grow, from the results of growth.py.

python -m benchmarks.speed.growth_plot
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import matplotlib as mpl

from benchmarks.common.paths import IMAGES, RESULTS
from benchmarks.speed.rows import Json

mpl.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

AXES = {
    "masks": "masks of the layer",
    "grid": "cells of the layer",
    "side": "pixels of the image",
    "classes": "classes read",
    "photos": "photos in one call",
}
ROWS = {"seconds": "processor time, s", "mib": "memory of a call, MiB"}
STYLES = {
    ("stub", "exact"): ("#0b6e99", "o", "exact"),
    ("stub", "fast"): ("#c2410c", "^", "fast"),
    ("stub", "48"): ("#4d7c0f", "s", "48 masks"),
    ("lite0", "fast"): ("#475569", "X", "EfficientNet-Lite0, fast"),
    ("lite0", "48"): ("#64748b", "P", "EfficientNet-Lite0, 48 masks"),
}


def main() -> None:
    """Read the results, and draw the plot."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("results", nargs="?", type=Path, default=RESULTS / "speed" / "growth.json")
    parser.add_argument("--out", type=Path, default=IMAGES / "growth.png")
    options = parser.parse_args()
    plt.rcParams.update({"font.family": "sans-serif", "font.size": 9, "axes.edgecolor": "#888888"})
    report = json.loads(options.results.read_text("utf-8"))
    draw(report).savefig(options.out, dpi=100, facecolor="white")


def draw(report: Json) -> Figure:
    """One column for what grows, one row for time and one for memory."""
    figure, grid = plt.subplots(len(ROWS), len(AXES), figsize=(12, 5.6), sharey="row")
    for place, axis in enumerate(AXES):
        for row, name in enumerate(ROWS):
            panel(grid[row][place], [s for s in report["series"] if s["axis"] == axis], name)
        grid[0][place].set_title(AXES[axis], fontsize=10, fontweight="bold")
        grid[1][place].set_xlabel(AXES[axis])
    for row, label in enumerate(ROWS.values()):
        grid[row][0].set_ylabel(label)
    drawn = {(s["network"], s["budget"]) for s in report["series"]}
    handles = [
        Line2D([], [], color=colour, marker=marker, linewidth=1.5, label=label)
        for key, (colour, marker, label) in STYLES.items()
        if key in drawn
    ]
    handles.append(Line2D([], [], color="#aaaaaa", linestyle=":", label="in proportion"))
    figure.legend(handles=handles, loc="lower center", ncols=len(handles), frameon=False)
    figure.subplots_adjust(left=0.065, right=0.985, top=0.94, bottom=0.17, wspace=0.1, hspace=0.2)
    return figure


def panel(axes: Axes, series: list[Json], name: str) -> None:
    """The series of one axis, with a line that grows in proportion through the last stub's."""
    axes.set_xscale("log")
    axes.set_yscale("log")
    for each in series:
        colour, marker, _ = STYLES[each["network"], each["budget"]]
        if len(each[name]) == len(each["sizes"]):
            axes.plot(
                each["sizes"], each[name], color=colour, marker=marker, markersize=4, linewidth=1.5
            )
    stub = [each for each in series if each["network"] == "stub" and each[name]]
    if stub:
        sizes, start = stub[0]["sizes"], stub[0][name][0]
        guide = [start * size / sizes[0] for size in sizes]
        axes.plot(sizes, guide, color="#aaaaaa", linestyle=":", linewidth=1.2, zorder=1)
    axes.grid(color="#e5e5e5", linewidth=0.8)
    axes.set_axisbelow(True)
    for ticks in (axes.xaxis, axes.yaxis):
        ticks.set_major_locator(LogLocator(numticks=6))
        ticks.set_minor_locator(NullLocator())
        ticks.set_major_formatter(FuncFormatter(plain))
    axes.spines[["top", "right"]].set_visible(False)


def plain(value: float, _place: int) -> str:
    """0.01, 10, 10,000, 1 M."""
    if value >= 1e6:
        return f"{value / 1e6:g} M"
    return f"{value:,.0f}" if value >= 1 else f"{value:g}"


if __name__ == "__main__":
    main()
