"""Figures computed from the measurements: ratios, fidelity, and a summary of each row."""

from __future__ import annotations

import statistics
from collections.abc import Generator, Sequence

import numpy as np
import numpy.typing as npt

from benchmarks.speed.rows import PEERS, ROWS, Json

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


def ratios(entry: Json, key: str) -> list[float]:
    """The speed relative to the fastest other package of the round, for every round."""
    peers = {
        turn: min(seconds)
        for turn in range(1 + max((f["round"] for k in PEERS for f in entry["runs"][k]), default=0))
        if (
            seconds := [f["seconds"] for k in PEERS for f in entry["runs"][k] if f["round"] == turn]
        )
    }
    return [peers[f["round"]] / f["seconds"] for f in entry["runs"][key] if f["round"] in peers]


def summary(entry: Json, key: str) -> Json:
    """The summary of one row of one network."""
    runs = entry["runs"][key]
    row: Json = {"label": ROWS[key].label, "seconds": spread([f["seconds"] for f in runs])}
    row["peak_mib"] = spread([f["peak_mib"] for f in runs])
    if ROWS[key].kind in ("peer", "ours", "cheap") and (speeds := ratios(entry, key)):
        row["ratio"] = spread(speeds)
    for name in ("seconds_again", "forward_passes", "photos"):
        if name in runs[0]:
            row[name] = statistics.median(f[name] for f in runs)
    for name in ("runtime", "precision", "batch_size"):
        if name in runs[0]:
            row[name] = ", ".join(dict.fromkeys(str(f[name]) for f in runs))
    if "five" in runs[0]:
        row["five"] = spread([f["five"]["ratio"] for f in runs])
        row["five_same_passes"] = all(f["five"]["same_passes"] for f in runs)
    if "fidelity" in runs[0]:
        row["fidelity"] = fidelity_of(runs)
    if ROWS[key].of:
        row["floor"] = spread(list(over_floor(entry, key)))
    return row


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
