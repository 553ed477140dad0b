"""The parts that all figures of a run share: colours, line styles, labels, and saving."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from scorecam.base import quiet_matplotlib
from scorecam.base.wording import visible
from scorecam.io.extras import require
from scorecam.io.files import write_bytes

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7a5195", "#444444")
"""Safe for colour-blind readers (Okabe and Ito); line styles differ too."""

STYLES = ("-", "--", "-.", ":")

MOST_METHODS = 8
"""The most methods in one figure; further methods are left out."""


def new_figure(width: float, height: float) -> Any:
    """An empty figure of this size in inches.

    Raises:
        MissingExtra: matplotlib is not installed.
    """
    return _figure_class()(figsize=(width, height), layout="constrained")


def _figure_class() -> Any:
    quiet_matplotlib.prepare()
    return require("matplotlib.figure", "plot", "draw plots").Figure


def save(figure: Any, path: Path) -> None:
    """Write a figure as PNG.

    Raises:
        OutputError: the file cannot be written.
    """
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=150, metadata={"Software": ""})
    write_bytes(path, stream.getvalue())


def colour(number: int) -> str:
    """The colour of the n-th method, counted from 0."""
    return COLOURS[number % len(COLOURS)]


def line(number: int) -> dict[str, Any]:
    """The colour and line style of the n-th method."""
    return {"color": colour(number), "linestyle": STYLES[number % len(STYLES)]}


def short(name: str) -> str:
    """A method's name, with its middle left out if it would not fit next to a figure."""
    return plain(name if len(name) <= 34 else f"{name[:16]}…{name[-16:]}")


def plain(name: str) -> str:
    """A name that matplotlib draws unchanged: not as a formula, and not as a hidden label."""
    text = visible(name).replace("$", r"\$")
    return f" {text}" if text.startswith("_") else text


def legend_at_right(figure: Any) -> None:
    """One legend for all panels of a figure: that of the first panel."""
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right upper", fontsize=9, frameon=False)
