"""The peak memory of exact maps, above that of plain passes in the same runtime.

    python -m benchmarks.speed.memory

Every figure comes from a fresh process that has only opened the model and read the photo. Plain
passes take the same runtime, precision and batch size, convert the network in the same way, and run
on a batch that exists already. There are fewer of them, because memory stops growing after a few
batches. Maps and plain passes take turns, and differences are taken between medians.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import sys
from collections.abc import Iterator
from pathlib import Path

from benchmarks.common.paths import PHOTOS, RESULTS
from benchmarks.speed.child import FailedError, run
from benchmarks.speed.figures import spread
from benchmarks.speed.job import Job
from benchmarks.speed.machine import installed, machine
from benchmarks.speed.one import THREADS
from benchmarks.speed.rows import ROWS, Json
from benchmarks.speed.subjects import natural

PLAIN = {"exact-eager": "floor-eager", "exact-auto": "floor-auto", "exact-half": "floor-half"}
"""The measured rows, and the plain passes that each is compared with."""

PLAIN_PASSES = 128
"""Images in plain passes, at most."""

SHARE, MIB = 0.10, 64.0
"""The limit is the larger of the two: a share of the plain passes' memory, or this many MiB."""

PACKAGES = ("scorecam", "torch", "torchvision", "openvino", "numpy")


def measured(network: str, row: str, options: argparse.Namespace) -> Json:
    """One row: maps and plain passes in turn, and how much more the maps take."""
    photos = natural(options.photos, 1)
    maps: list[float] = []
    plain: list[float] = []
    figures: Json = {}
    for _ in range(options.repeats):
        figures = run(Job(network, row, "cpu", photos), options.photos)
        maps.append(figures["peak_mib"])
        passes, batch = min(PLAIN_PASSES, figures["forward_passes"]), figures["batch_size"]
        floor = figures["runtime"], figures["precision"], passes, batch
        job = Job(network, PLAIN[row], "cpu", photos, floor=floor)
        plain.append(run(job, options.photos)["peak_mib"])
    names = ("runtime", "precision", "batch_size", "forward_passes")
    return {
        "network": network,
        "row": row,
        "label": ROWS[row].label,
        **{name: figures[name] for name in names},
        "maps_mib": maps,
        "plain_mib": plain,
        **compared(maps, plain),
    }


def compared(maps: list[float], plain: list[float]) -> Json:
    """How much more memory the maps take than plain passes, in MiB, and the limit."""
    base = spread(plain)["median"]
    more = spread(maps)["median"] - base
    limit = max(SHARE * base, MIB)
    return {"more_mib": more, "limit_mib": limit, "reached": more <= limit}


def lines(report: Json) -> Iterator[str]:
    """A table of the rows, with the earlier result if there is one."""
    earlier = {
        (row["network"], row["row"]): row for row in report.get("before", {}).get("rows", [])
    }
    yield "| network | row | passes run in | maps MiB | plain MiB | more | limit | before |"
    yield "|---|---|---|---|---|---|---|---|"
    for row in report["rows"]:
        before = earlier.get((row["network"], row["row"]))
        cells = [
            row["network"],
            row["label"],
            f"{row['runtime']}, {row['precision']}, {row['batch_size']} at once",
            with_spread(row["maps_mib"]),
            with_spread(row["plain_mib"]),
            f"{row['more_mib']:.0f}" + ("" if row["reached"] else ", **not reached**"),
            f"{row['limit_mib']:.0f}",
            "" if before is None else in_short(before),
        ]
        yield f"| {' | '.join(cells)} |"


def with_spread(values: list[float]) -> str:
    """The median, and the smallest and the largest value."""
    found = spread(values)
    return f"{found['median']:.0f} ({found['min']:.0f} to {found['max']:.0f})"


def in_short(row: Json) -> str:
    """An earlier result in one cell: the maps' memory, and how much more that was."""
    return f"{spread(row['maps_mib'])['median']:.0f}, {row['more_mib']:.0f} more"


def main() -> None:
    """Measure every row, write the result after each, and print the table."""
    options = parsed()
    report: Json = {
        "schema": 1,
        "date": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        "machine": machine("cpu", THREADS),
        "versions": {name: installed(name) for name in PACKAGES},
        "settings": {"repeats": options.repeats, "plain_passes": PLAIN_PASSES},
        "rows": [],
        "failures": [],
    }
    if options.before is not None:
        report["before"] = json.loads(options.before.read_text())
    options.out.parent.mkdir(parents=True, exist_ok=True)
    for network in options.networks.split(","):
        for row in options.rows.split(","):
            try:
                report["rows"].append(measured(network, row, options))
            except FailedError as failure:
                report["failures"].append({"network": network, "row": row, "error": str(failure)})
                print(f"{network}, {row}: failed: {failure}", file=sys.stderr)
            options.out.write_text(json.dumps(report, indent=1) + "\n")
    for line in lines(report):
        print(line)


def parsed() -> argparse.Namespace:
    """The options."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--networks", default="lite0,resnet50,vgg16", help="comma-separated; tiny to try it")
    add("--rows", default=",".join(PLAIN), help="comma-separated")
    add("--repeats", type=int, default=3, help="processes of each kind")
    add("--photos", type=Path, default=PHOTOS)
    add("--before", type=Path, help="an earlier result, to show both")
    add("--out", type=Path, default=RESULTS / "speed" / "memory.json")
    return parser.parse_args()


if __name__ == "__main__":
    main()
