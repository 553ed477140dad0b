"""The figures of a run: curves with bands, drop against increase, and differences."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from scorecam.runs.figures import (
    MOST_METHODS,
    colour,
    legend_at_right,
    line,
    new_figure,
    plain,
    save,
    short,
)
from scorecam.runs.layout import Layout

if TYPE_CHECKING:
    from scorecam.metrics.statistics import Interval
    from scorecam.runs.tables import Curve, Row


def draw(
    layout: Layout,
    rows: Sequence[Row],
    curves: Mapping[str, Mapping[str, Curve]],
    titles: Mapping[str, str],
) -> None:
    """Draw every figure for which the run has numbers, as PNG files in its folder.

    Args:
        curves: by method and kind.
        titles: of the outcomes, with an arrow towards better values.

    Raises:
        MissingExtra: matplotlib is not installed.
        OutputError: a file cannot be written.
    """
    kinds = list(dict.fromkeys(kind for by_kind in curves.values() for kind in by_kind))
    if kinds:
        save(_curves(kinds, curves), layout.curves)
    outcomes = {row.outcome for row in rows if row.found.n and _is_mean(row)}
    if {"average_drop", "average_increase"} <= outcomes:
        save(_drop_increase(rows), layout.drop_increase)
    if any(row.against for row in rows):
        save(_differences(rows, titles), layout.differences)


def _curves(kinds: Sequence[str], curves: Mapping[str, Mapping[str, Curve]]) -> Any:
    """The probability against the share of pixels, with a panel per kind of curve."""
    figure = new_figure(5.2 * len(kinds) + 2, 4.2)
    for place, kind in enumerate(kinds):
        axes = figure.add_subplot(1, len(kinds), place + 1)
        for number, (method, by_kind) in enumerate(list(curves.items())[:MOST_METHODS]):
            if kind not in by_kind:
                continue
            mean, half = by_kind[kind].band()
            shares = np.linspace(0, 1, len(mean))
            axes.plot(shares, mean, label=short(method), linewidth=1.6, **line(number))
            axes.fill_between(shares, mean - half, mean + half, color=colour(number), alpha=0.12)
        axes.set_title(plain(f"{kind.capitalize()} (mean, 95 % band)"), fontsize=11)
        axes.set_xlabel("share of pixels")
        axes.set_ylabel("probability of the class")
        axes.set_xlim(0, 1)
        axes.set_ylim(bottom=0)
        axes.grid(alpha=0.25)
    legend_at_right(figure)
    return figure


def _drop_increase(rows: Sequence[Row]) -> Any:
    """Average Drop against Average Increase, with the intervals of both."""
    figure = new_figure(7.2, 4.6)
    axes = figure.add_subplot()
    means = {(row.method, row.outcome): row.found for row in rows if _is_mean(row)}
    for number, method in enumerate(dict.fromkeys(row.method for row in rows)):
        drop, rise = means[method, "average_drop"], means[method, "average_increase"]
        if not (drop.n and rise.n):
            continue
        axes.errorbar(
            drop.mean,
            rise.mean,
            xerr=_bars(drop),
            yerr=_bars(rise),
            fmt="osD^vP*X"[number % 8],
            color=colour(number),
            label=short(method),
            capsize=2,
            elinewidth=0.9,
        )
    axes.set_xlabel("Average Drop (lower is better)")
    axes.set_ylabel("Average Increase (higher is better)")
    axes.grid(alpha=0.25)
    figure.legend(loc="outside right upper", fontsize=9, frameon=False)
    return figure


def _differences(rows: Sequence[Row], titles: Mapping[str, str]) -> Any:
    """Every method against the first, with a panel per outcome."""
    gaps = [row for row in rows if row.against]
    outcomes = list(dict.fromkeys(row.outcome for row in gaps))
    methods = list(dict.fromkeys(row.method for row in gaps))
    columns = min(4, len(outcomes))
    lines = math.ceil(len(outcomes) / columns)
    figure = new_figure(2.6 * columns + 2.4, (0.32 * len(methods) + 1.1) * lines)
    panels = figure.subplots(lines, columns, sharey=True, squeeze=False)
    for axes, outcome in zip(panels.flat, outcomes, strict=False):
        _draw_differences(axes, [row for row in gaps if row.outcome == outcome], methods)
        axes.set_title(plain(titles[outcome]), fontsize=9)
    for axes in list(panels.flat)[len(outcomes) :]:
        axes.set_visible(False)
    figure.suptitle(
        f"Difference from {short(str(gaps[0].against))}, by photo (95 % intervals)", fontsize=10
    )
    return figure


def _draw_differences(axes: Any, gaps: Sequence[Row], methods: Sequence[str]) -> None:
    """One panel: a line per method."""
    axes.axvline(0, color="#888888", linewidth=1)
    for row in gaps:
        number = methods.index(row.method)
        axes.errorbar(
            row.found.mean,
            number,
            xerr=_bars(row.found),
            fmt="o",
            markersize=4,
            capsize=2,
            color=colour(number),
        )
    axes.set_yticks(range(len(methods)), [short(method) for method in methods], fontsize=8)
    axes.tick_params(axis="x", labelsize=7)
    axes.set_ylim(len(methods) - 0.5, -0.5)
    axes.grid(axis="x", alpha=0.25)


def _is_mean(row: Row) -> bool:
    return row.group == "all" and row.against is None


def _bars(mean: Interval) -> list[list[float]] | None:
    """The interval as lengths of error bars."""
    if math.isnan(mean.low):
        return None
    return [[mean.mean - mean.low], [mean.high - mean.mean]]
