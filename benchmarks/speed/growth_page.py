"""Write docs/growth.md from the results of growth.py.

python -m benchmarks.speed.growth_page
"""

from __future__ import annotations

import json
from collections.abc import Iterator

from benchmarks.common.markdown import table
from benchmarks.common.paths import DOCS, RESULTS
from benchmarks.speed.rows import Json

OPENING = """# How the cost grows

Generated from `benchmarks/results/speed/growth.json`, which `python -m benchmarks.speed.growth`
writes. One thing grows at a time. The model is a stub whose passes cost almost nothing, so that
scorecam's own time and memory show. EfficientNet-Lite0, with PyTorch, shows the whole cost.

![Time and memory against masks, cells, pixels, classes and photos](images/growth.png)

An exponent of 1 means that twice the size costs twice as much. It is the slope of the logarithms
over the upper half of the sizes, with its standard error. The time is processor time on one thread,
the least of up to five calls. The memory is the most during one call, above that before it. *48
masks* is `budget=48`, about as many as `fast` scores for a photo; on the stub, `fast` scores fewer.
"""

NAMES = {
    "masks": "masks of the layer",
    "grid": "cells of the layer",
    "side": "pixels of the image",
    "classes": "classes read",
    "photos": "photos in one call",
}

PAIRS = (
    "`Surrogate.spread` uses the covariance of every pair of masks, and beyond 2,048 masks it "
    "computes them in every round"
)
HOLES = (
    "beyond 2,048 masks, `Surrogate.spread` makes a new tensor for every block of this covariance, "
    "and small tensors in between keep the C library from using the memory of the previous block "
    "again"
)
BATCHES = (
    "the fewer images fit in a batch, the more often the fill and the image are prepared, once per "
    "batch; and larger tensors no longer fit in the processor's caches"
)
WHY = {
    ("seconds", "masks", "fast"): PAIRS,
    ("seconds", "masks", "48"): PAIRS,
    ("mib", "masks", "fast"): HOLES,
    ("mib", "masks", "48"): HOLES,
    ("seconds", "side", "exact"): BATCHES,
}
"""Why the time or the memory of the stub grows faster than in proportion."""

TWICE, CLOSE = 2, 1.05
"""An exponent is above 1 if it is above `CLOSE`, and by twice its standard error above 1."""


def page() -> str:
    """The Markdown of docs/growth.md."""
    return page_of(json.loads((RESULTS / "speed" / "growth.json").read_text("utf-8")))


def page_of(report: Json) -> str:
    """The page for one run."""
    head = ["grows", "from", "to", "budget", "exponent of time", "of memory", "time at the end"]
    rows = [cells(series) for series in report["series"]]
    parts = [OPENING, measured(report), table([*head, "memory at the end"], rows)]
    return "\n".join([*parts, *above_one(report), *threads(report)]).rstrip() + "\n"


def measured(report: Json) -> str:
    """When and where."""
    note = f" {report['note']}" if report["note"] else ""
    return f"{report['machine']['processor']}; {report['date']}.{note}\n"


def cells(series: Json) -> list[str]:
    """One row of the table."""
    name = NAMES[series["axis"]]
    sizes, fits = series["sizes"], series["fits"]
    return [
        name if series["network"] == "stub" else f"{name}, EfficientNet-Lite0",
        f"{sizes[0]:,}",
        f"{sizes[-1]:,}",
        budget(series),
        shown(fits.get("seconds")),
        shown(fits.get("mib")),
        f"{series['seconds'][-1]:.2g} s",
        f"{series['mib'][-1]:.0f} MiB" if series["mib"] else "–",
    ]


def budget(series: Json) -> str:
    """The budget as the page names it."""
    name: str = series["budget"]
    return f"{name} masks" if name.isdecimal() else name


def shown(fit: Json | None) -> str:
    """An exponent with its standard error; bold above 1."""
    if fit is None or fit["slope"] is None:
        return "–"
    text = f"{fit['slope']:.2f} ± {fit['error']:.2f}"
    return f"**{text}**" if above(fit) else text


def above(fit: Json | None) -> bool:
    """Whether an exponent is certainly above 1."""
    if fit is None or fit["slope"] is None:
        return False
    return fit["slope"] > CLOSE and fit["slope"] - TWICE * fit["error"] > 1


def above_one(report: Json) -> Iterator[str]:
    """Why some exponents are above 1."""
    yield "## Exponents above 1\n"
    yield "These are above 1.05, and by more than two standard errors above 1.\n"
    reasons: dict[str, list[str]] = {}
    for series in report["series"]:
        for figure, what in (("seconds", "time"), ("mib", "memory")):
            if above(series["fits"].get(figure)):
                why = reason(series, figure)
                slope = series["fits"][figure]["slope"]
                reasons.setdefault(why, []).append(f"{what}, {label(series)}: {slope:.2f}")
    for why, places in reasons.items():
        yield f"* {'; '.join(places)}. {why[0].upper()}{why[1:]}."
    yield "" if reasons else "There are none.\n"


def reason(series: Json, figure: str) -> str:
    """Why the time ("seconds") or memory ("mib") of a series grows faster than in proportion."""
    known = WHY.get((figure, series["axis"], series["budget"]))
    return known if known and series["network"] == "stub" else "the cause is not known yet"


def label(series: Json) -> str:
    """A series in words."""
    network = "" if series["network"] == "stub" else ", EfficientNet-Lite0"
    return f"{NAMES[series['axis']]}{network}, {budget(series)}"


def threads(report: Json) -> Iterator[str]:
    """One and two threads."""
    if "threads" not in report:
        return
    yield "## Threads\n"
    yield (
        "The stub with 512 masks and an image of 224 × 224. Where other programs use both cores, a "
        "second thread costs time: each waits for the other.\n"
    )
    rows = [
        [
            str(row["threads"]),
            row["budget"],
            f"{1000 * row['seconds']:.0f} ms",
            f"{1000 * row['wall']:.0f} ms",
        ]
        for row in report["threads"]
    ]
    yield table(["threads", "budget", "processor time", "wall time"], rows)


def main() -> None:
    """Write the page."""
    (DOCS / "growth.md").write_text(page(), "utf-8")


if __name__ == "__main__":
    main()
