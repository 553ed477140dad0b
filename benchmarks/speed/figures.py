"""Figures computed from the measurements: ratios, fidelity, and a summary of each row."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Generator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.speed.rows import PEER, ROWS, Json

Map = npt.NDArray[np.float32]


def compared(heatmap: Map, other: Map) -> Json:
    """How close two scaled maps of one photo are, `h w` each."""
    constant = heatmap.std() == 0 or other.std() == 0
    pearson = None if constant else float(np.corrcoef(heatmap.ravel(), other.ravel())[0, 1])
    share = round(0.2 * heatmap.size)
    ours, theirs = (set(np.argsort(-m.ravel(), kind="stable")[:share]) for m in (heatmap, other))
    return {
        "pearson": pearson,  # None where a map is constant
        "iou": len(ours & theirs) / len(ours | theirs),
        "max_abs": float(np.abs(heatmap - other).max()),
    }


def spread(values: Sequence[float]) -> Json:
    """Median, smallest and largest."""
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def quotient(above: Sequence[float], below: Sequence[float]) -> Json:
    """The medians divided, and the smallest and largest quotient of any two values."""
    return {
        "median": statistics.median(above) / statistics.median(below),
        "min": min(above) / max(below),
        "max": max(above) / min(below),
    }


def percentiles(values: Sequence[float]) -> Json:
    """Median, 5th and 95th percentile, under the names of a spread."""
    low, middle, high = (float(value) for value in np.quantile(values, (0.05, 0.5, 0.95)))
    return {"median": middle, "min": low, "max": high}


def summarised(report: Json) -> Json:
    """The report with a summary of every row of every network."""
    networks: Json = {}
    for name, entry in report["networks"].items():
        rows = {key: summary(entry, key) for key in ROWS if entry["runs"].get(key)}
        networks[name] = {**entry, "rows": rows}
    whole = {**report, "networks": networks}
    return {**whole, "geometric_mean": geometric_means(whole)}


def all_of(values: Sequence[object]) -> str:
    """Every different value, in the order of the runs."""
    return ", ".join(dict.fromkeys(map(str, values)))


FORMS: dict[str, Callable[[Sequence[Any]], Any]] = {
    **dict.fromkeys(("seconds", "seconds_again", "peak_mib", "over_best"), spread),
    **dict.fromkeys(("forward_passes", "photos"), statistics.median),
    **dict.fromkeys(("runtime", "precision", "batch_size", "best"), all_of),
}
"""How the values of all runs are summarised."""


def summary(entry: Json, key: str) -> Json:
    """The summary of one row of one network."""
    runs, kind = entry["runs"][key], ROWS[key].kind
    row: Json = {"label": ROWS[key].label}
    if kind in ("peer", "ours", "cheap") and entry["runs"].get(PEER):
        peer = [f["seconds"] for f in entry["runs"][PEER]]
        row["ratio"] = quotient(peer, [f["seconds"] for f in runs])
    if key == "fast-cached" and entry["runs"].get("gradcam"):
        first = [f["seconds"] for f in entry["runs"]["gradcam"]]
        row["over_gradcam"] = quotient([f["seconds"] for f in runs], first)
    row |= {name: form([f[name] for f in runs]) for name, form in FORMS.items() if name in runs[0]}
    if "five" in runs[0]:
        row["five"] = spread([f["five"]["ratio"] for f in runs])
        row["five_same_passes"] = all(f["five"]["same_passes"] for f in runs)
    if "fidelity" in runs[0]:
        row["fidelity"] = fidelity_of(runs)
    if kind == "warm":
        row |= warm_summary(runs)
    if ROWS[key].of:
        row["floor"] = spread(list(over_floor(entry, key)))
    return row


def warm_summary(runs: Sequence[Json]) -> Json:
    """Percentiles over the photos of all runs of a warm loop."""
    photos = [photo for run in runs for photo in run["each"]]
    return {
        "seconds": percentiles([photo["ours"] for photo in photos]),
        "gradcam": percentiles([photo["gradcam"] for photo in photos]),
        "over_gradcam": percentiles([photo["ours"] / photo["gradcam"] for photo in photos]),
        "outside": percentiles([1 - photo["passes"] / photo["ours"] for photo in photos]),
        "settling": max(seconds for run in runs for seconds in run["settling"]),
        "forward_passes": statistics.median(photo["count"] for photo in photos),
    }


def fidelity_of(runs: Sequence[Json]) -> Json:
    """Median and worst over photos. For a photo measured several times, the worst counts."""
    worst: dict[int, Json] = {}
    for photo in (each for run_ in runs for each in run_["fidelity"]):
        known = worst.setdefault(photo["photo"], photo)
        if photo["max_abs"] > known["max_abs"]:
            worst[photo["photo"]] = photo
    photos = list(worst.values())
    fidelity: Json = {"photos": len(photos)}
    for name, choose in (("pearson", min), ("iou", min), ("max_abs", max)):
        values = [photo[name] for photo in photos if photo[name] is not None]
        fidelity[f"{name}_defined"] = len(values)
        if values:
            fidelity[name] = {"median": statistics.median(values), "worst": choose(values)}
    return fidelity


def over_floor(entry: Json, key: str) -> Generator[float]:
    """The time of the row divided by the time of as many plain passes, for every round.

    Conversion is excluded on both sides: for a converted network the second time counts.
    """
    rows = {f["round"]: f for f in entry["runs"][ROWS[key].of]}
    for run in entry["runs"][key]:
        row = rows[run["round"]]
        name = "seconds" if run["runtime"] == "eager" else "seconds_again"
        yield row[name] / run["seconds"]


def geometric_means(report: Json) -> Json:
    """The geometric mean of each row's median ratio, over the networks that have one."""
    means: Json = {}
    for key in ROWS:
        medians = [
            entry["rows"][key]["ratio"]["median"]
            for entry in report["networks"].values()
            if "ratio" in entry.get("rows", {}).get(key, {})
        ]
        if medians:
            means[key] = {"ratio": statistics.geometric_mean(medians), "networks": len(medians)}
    return means
