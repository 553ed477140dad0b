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
        if "rows" in entry:
            yield from network_table(name, entry)
    yield "| | geometric mean, times the fastest peer | networks |\n|---|---|---|"
    for key, mean in report["geometric_mean"].items():
        yield f"| {ROWS[key].label} | {mean['ratio']:.3g} | {mean['networks']} |"
    yield "\n| target | measured | limit | | |\n|---|---|---|---|---|"
    for each in report["bars"]:
        held = {True: "reached", False: "**not reached**", None: "not measured"}[each["held"]]
        number = "" if each["number"] is None else f"{each['number']:.4g}"
        yield f"| {each['what']} | {number} | {each['limit']:.4g} | {held} | {each['note']} |"


def network_table(name: str, entry: Json) -> Iterator[str]:
    """The rows of one network."""
    first = entry["references"][0]
    live = [f["live"] for f in entry["references"]]
    yield (
        f"**{name}**, layer `{first['layer']}`: {first['channels']} channels, of which "
        f"{min(live)} to {max(live)} are not flat ({first['live']} in the first photo)\n"
    )
    yield (
        "| | s per photo | once converted | times the fastest peer | passes | runs in | peak MiB "
        "| Pearson | top-20 % IoU | largest error |"
    )
    yield "|---" * 10 + "|"
    for row in entry["rows"].values():
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
    cells.append(f"{row['seconds_again']:.3g}" if "seconds_again" in row else "")
    cells.append(ranged(row["ratio"], ".3g") if "ratio" in row else "")
    cells.append(f"{row['forward_passes']:.0f}" if "forward_passes" in row else "")
    runs_in = f"{row['runtime']}, {row['precision']}" if "runtime" in row else ""
    if "batch_size" in row:
        runs_in += f", {row['batch_size']} at once"
    cells += [runs_in, f"{row['peak_mib']['median']:.0f}"]
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


def ranged(values: Json, form: str) -> str:
    """The median, with the smallest and largest where they differ as printed."""
    low, middle, high = (f"{values[name]:{form}}" for name in ("min", "median", "max"))
    return middle if low == high else f"{middle} ({low}–{high})"
