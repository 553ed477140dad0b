"""The figure of a comparison: focus and accuracy, side by side."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from scorecam.metrics.statistics import Interval
from scorecam.runs.figures import line, new_figure, save, short


def draw_training(
    path: Path, names: Sequence[str], focus: Sequence[Interval], accuracy: Sequence[Interval]
) -> None:
    """Draw focus and accuracy of every side, for instance of checkpoints (the paper's Figure 10).

    Raises:
        MissingExtra: matplotlib is not installed.
        OutputError: the file cannot be written.
    """
    figure = new_figure(max(5.6, 0.7 * len(names) + 2), 4.2)
    axes = figure.add_subplot()
    lines = (
        ("accuracy: right predictions", accuracy),
        ("focus: energy in the object", focus),
    )
    for number, (title, sides) in enumerate(lines):
        known = [(place, mean) for place, mean in enumerate(sides) if mean.n]
        if not known:
            continue
        means = np.array([each.mean for _, each in known])
        ends = np.array([[each.low for _, each in known], [each.high for _, each in known]])
        # A single photo has no interval.
        bars = np.nan_to_num(np.maximum([means - ends[0], ends[1] - means], 0))
        style = {**line(number), "label": title, "capsize": 3, "marker": "os"[number]}
        axes.errorbar([place for place, _ in known], means, yerr=bars, **style)
    labels = [short(name) for name in short_names(names)]
    slant = {"rotation": 25, "ha": "right"} if max(map(len, labels)) > 8 else {}
    axes.set_xticks(range(len(names)), labels, **slant)
    axes.set_xlim(-0.4, len(names) - 0.6)
    axes.set_ylim(0, 1.02)
    axes.set_ylabel("mean over photos, 95 % interval")
    axes.grid(axis="y", alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    if axes.get_legend_handles_labels()[0]:
        figure.legend(loc="outside upper left", ncols=2, frameon=False)
    save(figure, path)


def short_names(names: Sequence[str]) -> list[str]:
    """The names of sides without what is not needed to tell them apart: `epoch1`, `epoch2`.

    Settings are left out if the models are different, and otherwise the common beginning and end.
    Names are cut only at commas, colons, dots, slashes and equals signs. If a name would become
    empty, all names stay as they are.
    """
    models = [re.sub(r"(,[a-z]+=[^,]*)+$", "", name) for name in names]
    if len(set(models)) == len(names):
        names = models
    parts = [re.findall(r"[,:./=]|[^,:./=]+", name) for name in names]
    begin = _shared(parts)
    end = _shared([list(reversed(each[begin:])) for each in parts])
    rest = ["".join(each[begin : len(each) - end]) for each in parts]
    return rest if all(rest) else list(names)


def _shared(lists: Sequence[Sequence[str]]) -> int:
    """The number of leading parts that all lists share."""
    columns = zip(*lists, strict=False)  # as far as the shortest goes
    return sum(1 for _ in itertools.takewhile(lambda column: len(set(column)) == 1, columns))
