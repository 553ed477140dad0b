"""A run's figures: curves with bands, drop against increase, and differences with intervals."""

from __future__ import annotations

import io
import itertools
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from scorecam.base import quiet_matplotlib
from scorecam.base.wording import visible
from scorecam.io.extras import require
from scorecam.io.files import write_bytes
from scorecam.runs.tables import CHANCE

if TYPE_CHECKING:
    from scorecam.metrics.statistics import Interval
    from scorecam.runs.tables import Curve, Point, Row

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7a5195", "#444444")
"""Told apart by colour-blind people too (Okabe and Ito), and by their line styles."""

STYLES = ("-", "--", "-.", ":")
SHOWN = 8
"""Methods in one picture: the first ones."""


def draw(
    folder: Path,
    rows: Sequence[Row],
    curves: Mapping[str, Mapping[str, Curve]],
    titles: Mapping[str, str],
) -> list[Path]:
    """Whatever the run has figures for, as PNG files in its folder; returns them.

    Args:
        titles: of the outcomes, with an arrow that says which way is better.

    Raises:
        MissingExtra: matplotlib is not installed.
        OutputError: a file cannot be written.
    """
    figure_of = _figure()
    drawn: list[Path] = []

    def save(name: str, figure: Any) -> None:
        path = folder / name
        _save(figure, path)
        drawn.append(path)

    kinds = list(dict.fromkeys(kind for each in curves.values() for kind in each))
    if kinds:
        save("curves.png", _curves(figure_of, kinds, curves))
    known = {row.outcome for row in rows if row.found.n and _whole(row)}
    if {"average_drop", "average_increase"} <= known:
        save("drop-increase.png", _against(figure_of, rows))
    if any(row.against for row in rows):
        save("differences.png", _differences(figure_of, rows, titles))
    return drawn


def _look(number: int) -> dict[str, Any]:
    return {"color": COLOURS[number % len(COLOURS)], "linestyle": STYLES[number % len(STYLES)]}


def _curves(figure_of: Any, kinds: Sequence[str], curves: Mapping[str, Mapping[str, Curve]]) -> Any:
    """P against the share of pixels, a panel for each kind of curve."""
    figure = figure_of(figsize=(5.2 * len(kinds) + 2, 4.2), layout="constrained")
    for place, kind in enumerate(kinds):
        axes = figure.add_subplot(1, len(kinds), place + 1)
        for number, (method, found) in enumerate(list(curves.items())[:SHOWN]):
            if kind not in found:
                continue
            mean, half = found[kind].band()
            shares = np.linspace(0, 1, len(mean))
            axes.plot(shares, mean, label=_short(method), linewidth=1.6, **_look(number))
            axes.fill_between(
                shares, mean - half, mean + half, color=COLOURS[number % len(COLOURS)], alpha=0.12
            )
        axes.set_title(_plain(f"{kind.capitalize()} (mean, 95 % band)"), fontsize=11)
        axes.set_xlabel("share of pixels")
        axes.set_ylabel("probability of the class")
        axes.set_xlim(0, 1)
        axes.set_ylim(bottom=0)
        axes.grid(alpha=0.25)
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right upper", fontsize=9, frameon=False)
    return figure


def _against(figure_of: Any, rows: Sequence[Row]) -> Any:
    """Average Drop against Average Increase, with both intervals."""
    figure = figure_of(figsize=(7.2, 4.6), layout="constrained")
    axes = figure.add_subplot()
    found = {(row.method, row.outcome): row.found for row in rows if _whole(row)}
    for number, method in enumerate(dict.fromkeys(row.method for row in rows)):
        drop, rise = found[method, "average_drop"], found[method, "average_increase"]
        if not (drop.n and rise.n):
            continue
        axes.errorbar(
            drop.mean,
            rise.mean,
            xerr=_bars(drop),
            yerr=_bars(rise),
            fmt="osD^vP*X"[number % 8],
            color=COLOURS[number % len(COLOURS)],
            label=_short(method),
            capsize=2,
            elinewidth=0.9,
        )
    axes.set_xlabel("Average Drop (lower is better)")
    axes.set_ylabel("Average Increase (higher is better)")
    axes.grid(alpha=0.25)
    figure.legend(loc="outside right upper", fontsize=9, frameon=False)
    return figure


def _differences(figure_of: Any, rows: Sequence[Row], titles: Mapping[str, str]) -> Any:
    """Every method against the first, a panel for each outcome."""
    gaps = [row for row in rows if row.against]
    outcomes = list(dict.fromkeys(row.outcome for row in gaps))
    methods = list(dict.fromkeys(row.method for row in gaps))
    wide = min(4, len(outcomes))
    tall = math.ceil(len(outcomes) / wide)
    figure = figure_of(
        figsize=(2.6 * wide + 2.4, (0.32 * len(methods) + 1.1) * tall), layout="constrained"
    )
    panels = figure.subplots(tall, wide, sharey=True, squeeze=False)
    for place, axes in enumerate(panels.flat):
        if place >= len(outcomes):
            axes.set_visible(False)
            continue
        axes.axvline(0, color="#888888", linewidth=1)
        for row in gaps:
            if row.outcome == outcomes[place]:
                number = methods.index(row.method)
                axes.errorbar(
                    row.found.mean,
                    number,
                    xerr=_bars(row.found),
                    fmt="o",
                    markersize=4,
                    capsize=2,
                    color=COLOURS[number % len(COLOURS)],
                )
        axes.set_title(_plain(titles[outcomes[place]]), fontsize=9)
        axes.set_yticks(range(len(methods)), [_short(each) for each in methods], fontsize=8)
        axes.tick_params(axis="x", labelsize=7)
        axes.set_ylim(len(methods) - 0.5, -0.5)
        axes.grid(axis="x", alpha=0.25)
    figure.suptitle(
        f"Difference to {_short(str(gaps[0].against))}, by photo (95 % intervals)", fontsize=10
    )
    return figure


def _short(method: str) -> str:
    """A method's name, its middle left out where it would not fit beside a picture."""
    return _plain(method if len(method) <= 34 else f"{method[:16]}…{method[-16:]}")


def _plain(name: str) -> str:
    """A name that matplotlib draws as it is: no formula, no label that legends leave out."""
    text = visible(name).replace("$", r"\$")
    return f" {text}" if text.startswith("_") else text


def _whole(row: Row) -> bool:
    return row.group == "all" and row.against is None


def _bars(found: Any) -> list[list[float]] | None:
    if math.isnan(found.low):
        return None
    return [[found.mean - found.low], [found.high - found.mean]]


def draw_sanity(folder: Path, points: Sequence[Point]) -> None:
    """Likeness to the trained network's maps, stage by stage: a panel per mode and measure.

    Raises:
        MissingExtra: matplotlib is not installed.
        OutputError: a file cannot be written.
    """
    figure_of = _figure()
    chance = {(p.method, p.measure): p.found.mean for p in points if p.mode == CHANCE}
    points = [point for point in points if point.mode != CHANCE]
    modes = list(dict.fromkeys(point.mode for point in points))
    measures = list(dict.fromkeys(point.measure for point in points))
    methods = list(dict.fromkeys(point.method for point in points))
    figure = figure_of(figsize=(4.6 * len(measures) + 1.6, 3.6 * len(modes)), layout="constrained")
    panels = figure.subplots(len(modes), len(measures), squeeze=False)
    for row, mode in enumerate(modes):
        stages = list(dict.fromkeys(point.stage for point in points if point.mode == mode))
        for column, measure in enumerate(measures):
            axes = panels[row, column]
            for number, method in enumerate(methods[:SHOWN]):
                own = [
                    p for p in points if (p.method, p.mode, p.measure) == (method, mode, measure)
                ]
                places = [stages.index(point.stage) for point in own]
                mean, low, high = (
                    np.array([getattr(point.found, name) for point in own])
                    for name in ("mean", "low", "high")
                )
                axes.plot(places, mean, label=_short(method), marker=".", **_look(number))
                colour = COLOURS[number % len(COLOURS)]
                axes.fill_between(places, low, high, color=colour, alpha=0.15)
                if (method, measure) in chance:
                    level = chance[method, measure]
                    axes.axhline(level, color=colour, linewidth=1, linestyle=(0, (1, 3)))
            axes.axhline(0, color="#888888", linewidth=0.8)
            axes.set_ylim(-0.3, 1.05)
            axes.set_title(_plain(f"{mode}: {measure}"), fontsize=10)
            axes.grid(alpha=0.25)
            axes.set_xticks(
                range(len(stages)), [_short(each) for each in stages], rotation=90, fontsize=7
            )
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right upper", fontsize=9, frameon=False)
    figure.suptitle(
        "Likeness to the trained network's maps (mean, 95 % interval); "
        "dotted: between its maps of different photos",
        fontsize=11,
    )
    _save(figure, folder / "curves.png")


STRIP = 10
"""Maps in a row, beside the photo: the first, the last, and others evenly between."""


def draw_strips(
    path: Path, photo: Any, titles: Sequence[str], strips: Mapping[str, Sequence[Any]]
) -> None:
    """One photo's maps by every method, network after network (the paper's Figure 9).

    Args:
        photo: `h w 3` uint8.
        titles: of the networks.
        strips: each method's maps, `u v`, one for each title; None where there is none.

    Raises:
        MissingExtra: matplotlib is not installed.
        OutputError: the file cannot be written.
    """
    places = sorted({round(i) for i in np.linspace(0, len(titles) - 1, STRIP)})
    high, wide = photo.shape[:2]
    figure = _figure()(
        figsize=(1.15 * (len(places) + 1), 1.3 * len(strips) + 0.9), layout="constrained"
    )
    panels = figure.subplots(len(strips), len(places) + 1, squeeze=False)
    for row, (method, maps) in zip(panels, strips.items(), strict=True):
        row[0].imshow(photo)
        row[0].set_ylabel(_short(method), fontsize=8)
        for axes, place in zip(row[1:], places, strict=True):
            axes.imshow(photo.mean(axis=2), cmap="gray", extent=(0, wide, high, 0))
            if maps[place] is not None:
                axes.imshow(
                    soft(maps[place]), cmap="inferno", alpha=0.7, vmin=0, vmax=1,
                    extent=(0, wide, high, 0), interpolation="bilinear",
                )  # fmt: skip
    for axes, place in zip(panels[0][1:], places, strict=True):
        axes.set_title(_plain(str(titles[place])), fontsize=7, wrap=True)
    for axes in panels.flat:
        axes.set(xticks=[], yticks=[])
    figure.suptitle("What is left of a map as weights are drawn anew, from the output down")
    _save(figure, path)


def _save(figure: Any, path: Path) -> None:
    drawn = io.BytesIO()
    figure.savefig(drawn, format="png", dpi=150, metadata={"Software": ""})
    write_bytes(path, drawn.getvalue())


def soft(values: Any) -> Any:
    """Scaled to [0, 1]; zeros where all are the same."""
    low, high = float(values.min()), float(values.max())
    return (values - low) / (high - low) if high > low else np.zeros_like(values)


def _figure() -> Any:
    quiet_matplotlib.prepare()
    return require("matplotlib.figure", "plot", "draw plots").Figure


def draw_training(
    path: Path, names: Sequence[str], focus: Sequence[Interval], accuracy: Sequence[Interval]
) -> None:
    """Focus and accuracy side after side, as training goes on (the paper's Figure 10).

    Raises:
        MissingExtra: matplotlib is not installed.
        OutputError: the file cannot be written.
    """
    width = max(5.6, 0.7 * len(names) + 2)
    figure = _figure()(figsize=(width, 4.2), layout="constrained")
    axes = figure.add_subplot()
    shown = (
        ("accuracy: right predictions", accuracy),
        ("focus: energy in the object", focus),
    )
    for number, (title, found) in enumerate(shown):
        known = [(place, each) for place, each in enumerate(found) if each.n]
        if not known:
            continue
        mean = np.array([each.mean for _, each in known])
        ends = np.array([[each.low for _, each in known], [each.high for _, each in known]])
        # One photo has no interval.
        bars = np.nan_to_num(np.maximum([mean - ends[0], ends[1] - mean], 0))
        look = {**_look(number), "label": title, "capsize": 3, "marker": "os"[number]}
        axes.errorbar([place for place, _ in known], mean, yerr=bars, **look)
    labels = [_short(name) for name in told_apart(names)]
    slant = {"rotation": 25, "ha": "right"} if max(map(len, labels)) > 8 else {}
    axes.set_xticks(range(len(names)), labels, **slant)
    axes.set_xlim(-0.4, len(names) - 0.6)
    axes.set_ylim(0, 1.02)
    axes.set_ylabel("mean over photos, 95 % interval")
    axes.grid(axis="y", alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    if axes.get_legend_handles_labels()[0]:
        figure.legend(loc="outside upper left", ncols=2, frameon=False)
    _save(figure, path)


def told_apart(names: Sequence[str]) -> list[str]:
    """Sides' names without what all begin and end with: `epoch1`, `epoch2`.

    Commas, colons, dots, slashes and equals signs separate what stays or goes as a whole. Where
    nothing would be left of a name, all stay as they are.
    """
    parts = [re.findall(r"[,:./=]|[^,:./=]+", name) for name in names]
    begin = _shared(parts)
    end = _shared([list(reversed(each[begin:])) for each in parts])
    rest = ["".join(each[begin : len(each) - end]) for each in parts]
    return rest if all(rest) else list(names)


def _shared(lists: Sequence[Sequence[str]]) -> int:
    """How many first parts all have in common."""
    columns = zip(*lists, strict=False)  # as far as the shortest goes
    return sum(1 for _ in itertools.takewhile(lambda column: len(set(column)) == 1, columns))
