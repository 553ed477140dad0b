"""The measurements as Markdown tables."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.speed.rows import ROWS, Json


def tables(report: Json) -> Iterator[str]:
    """The report of one file of results, line by line."""
    machine = report["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in report["versions"].items())
    where = machine.get("gpu", machine["processor"])
    half = ", ".join(machine["bfloat16"]) or "none"
    yield (
        f"{where}, {machine['threads']} threads, bfloat16 instructions: {half}; {report['date']}"
        f"\n\n{versions}\n"
    )
    for name, entry in report["networks"].items():
        if entry["rows"]:
            yield from network_table(name, entry)
    yield "| | geometric mean, times torchcam | networks |\n|---|---|---|"
    for key, mean in report["geometric_mean"].items():
        yield f"| {ROWS[key].label} | {mean['ratio']:.3g} | {mean['networks']} |"
    yield from warm_table(report["networks"])


def warm_table(networks: Json) -> Iterator[str]:
    """The warm loops, next to Grad-CAM on the same tensors."""
    if not any("warm" in entry["rows"] for entry in networks.values()):
        return
    yield (
        "\nWarm, photo after photo in one process, in turn with Grad-CAM on the same tensors. "
        "Brackets hold the 5th and the 95th percentile. *slowest first lap* is the longest of the "
        "photos before these, with conversions.\n"
    )
    yield (
        "| | fast, ms | Grad-CAM of torchcam, ms | fast over Grad-CAM | not the runtime's passes "
        "| passes | runs in | slowest first lap, s |"
    )
    yield "|---" * 8 + "|"
    for name, entry in networks.items():
        if row := entry["rows"].get("warm"):
            cells = [ranged(row[part], ".0f", 1000) for part in ("seconds", "gradcam")]
            cells += [ranged(row["over_gradcam"], ".2f"), ranged(row["outside"], ".0%")]
            cells += [f"{row['forward_passes']:.0f}", f"{row['runtime']}, {row['precision']}"]
            yield f"| {name} | {' | '.join(cells)} | {row['settling']:.2f} |"


def network_table(name: str, entry: Json) -> Iterator[str]:
    """The rows of one network."""
    first = entry["references"][0]
    live = [f["live"] for f in entry["references"]]
    yield (
        f"**{name}**, layer `{first['layer']}`: {first['channels']} channels, of which "
        f"{min(live)} to {max(live)} are not flat ({first['live']} in the first photo)\n"
    )
    yield (
        "| | s per photo | once converted | times torchcam | passes | runs in | peak MiB "
        "| Pearson | top-20 % IoU | largest error |"
    )
    yield "|---" * 10 + "|"
    for key, row in entry["rows"].items():
        if ROWS[key].kind != "warm":  # it has a table of its own
            yield row_of(row)
    for failure in entry["failures"]:
        yield f"\n`{failure['row']}`, round {failure['round'] + 1}: failed: {failure['error']}"
    yield ""


def row_of(row: Json) -> str:
    """One row as Markdown."""
    label = row["label"]
    if "photos" in row:
        label += f" ({row['photos']:.0f})"
    cells = [label, ranged(row["seconds"], ".3g")]
    cells.append(ranged(row["seconds_again"], ".3g") if "seconds_again" in row else "")
    cells.append(ranged(row["ratio"], ".3g") if "ratio" in row else "")
    cells.append(f"{row['forward_passes']:.0f}" if "forward_passes" in row else "")
    runs_in = f"{row['runtime']}, {row['precision']}" if "runtime" in row else ""
    if "batch_size" in row:
        runs_in += f", {row['batch_size']} at once"
    cells += [runs_in, f"{row['peak_mib']['median']:.0f}" if "peak_mib" in row else ""]
    fidelity = row.get("fidelity", {})
    for figure, form in (("pearson", ".5f"), ("iou", ".3f"), ("max_abs", ".2g")):
        values = fidelity.get(figure)
        if values is None:
            cells.append("not defined" if fidelity else "")
        elif fidelity["photos"] == 1:
            cells.append(f"{values['median']:{form}}")
        else:
            cells.append(f"{values['median']:{form}}, worst {values['worst']:{form}}")
    return f"| {' | '.join(cells)} |"


def ranged(values: Json, form: str, unit: float = 1) -> str:
    """The median, with the smallest and largest where they differ as printed."""
    low, middle, high = (f"{unit * values[name]:{form}}" for name in ("min", "median", "max"))
    return middle if low == high else f"{middle} ({low}–{high})"
