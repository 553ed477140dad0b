"""The runtime that auto chooses, compared with the fastest, on a busy machine and an idle one.

    python -m benchmarks.speed.choice --networks lite0 resnet50

Every run is a process of its own: photo after photo, `fast` with runtime and precision auto. After
each photo, every fixed choice explains the same photo with a second copy of the network, so that
all are measured under the same load. In runs with "busy", another process keeps one core busy
during the first half of the photos.

"behind" compares choices: the median time of the fixed choice that auto made for a photo, over the
median time of the best fixed choice in the same half. "time" compares times: auto's own seconds for
the photo, with everything that choosing costs, over those of the best fixed choice.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch

from benchmarks.common.paths import PHOTOS, RESULTS
from benchmarks.speed.machine import installed, machine
from benchmarks.speed.subjects import natural, opened
from scorecam import Model, explain
from scorecam.images.photo import read_photo
from tests.helpers import torchvision_ops

FIXED = (
    ("openvino", "bfloat16"),
    ("openvino", "float32"),
    ("eager", "bfloat16"),
    ("eager", "float32"),
)
SPIN = "while True: pass"
SETTLED = 10
"""Photos after which the choice must be right."""

LIMIT = 1.3

Json = dict[str, Any]


def seconds_of(model: Model, image: torch.Tensor, runtime: str, precision: str) -> Json:
    """Explain one photo; the time, and what was used."""
    began = time.perf_counter()
    explanation = explain(model, image, runtime=runtime, precision=precision, budget="fast")
    _ = explanation.heatmap
    provenance = explanation.provenance
    return {
        "seconds": time.perf_counter() - began,
        "choice": f"{provenance.runtime} {provenance.precision}",
        "passes": provenance.forward_passes,
    }


def one_run(network: str, photos: list[Path], *, busy: bool) -> list[Json]:
    """Every photo with auto, then with each fixed choice."""
    torchvision_ops.define()
    automatic, fixed = opened(network, "cpu"), opened(network, "cpu")
    preprocess = automatic.preprocess
    if preprocess is None:
        sys.exit(f"{network} has no preprocessing for photos.")
    images = [preprocess(read_photo(path)) for path in photos]
    for runtime, precision in FIXED:  # converted and warm before anything is timed
        seconds_of(fixed, images[0], runtime, precision)
    other = subprocess.Popen([sys.executable, "-c", SPIN]) if busy else None  # noqa: S603
    rows: list[Json] = []
    try:
        for number, image in enumerate(images):
            if other is not None and number == len(images) // 2:
                other.kill()
                other.wait()
            row = seconds_of(automatic, image, "auto", "auto")
            row["photo"], row["busy"] = photos[number].name, busy and number < len(images) // 2
            row["fixed"] = {
                " ".join(which): seconds_of(fixed, image, *which)["seconds"] for which in FIXED
            }
            rows.append(row)
    finally:
        if other is not None:
            other.kill()
    return rows


def rated(rows: list[Json]) -> Json:
    """The run, with how far each choice is behind the best one."""
    halves = rows[: len(rows) // 2], rows[len(rows) // 2 :]
    for half in halves:
        usual = {
            which: statistics.median(row["fixed"][which] for row in half)
            for which in half[0]["fixed"]
        }
        for row in half:
            row["behind"] = usual[row["choice"]] / min(usual.values())
            row["time"] = row["seconds"] / min(row["fixed"].values())
    later = rows[SETTLED:]
    wrong = [number for number, row in enumerate(halves[1], 1) if row["behind"] > LIMIT]
    return {
        "rows": rows,
        "right_again_after": max(wrong, default=0),
        "worst_behind": max(row["behind"] for row in later),
        "median_time": statistics.median(row["time"] for row in later),
    }


def shown(run: Json) -> None:
    """Print a run, one line per photo."""
    for number, row in enumerate(run["rows"], 1):
        fixed = "  ".join(f"{which} {seconds:.3f}" for which, seconds in row["fixed"].items())
        print(
            f"{number:>3} {'busy' if row['busy'] else '    '} {row['seconds']:.3f} s  "
            f"{row['choice']:<18} behind {row['behind']:.2f}  time {row['time']:.2f}  ({fixed})"
        )
    reached = "reached" if run["worst_behind"] <= LIMIT else "not reached"
    print(
        f"after {SETTLED} photos: at most {run['worst_behind']:.2f} behind the best choice "
        f"(limit {LIMIT}: {reached}); right from photo {run['right_again_after'] + 1} of the "
        f"second half; median time {run['median_time']:.2f}",
        flush=True,
    )


def child(options: argparse.Namespace, network: str, order: int, *, busy: bool) -> list[Json]:
    """One run in a fresh process."""
    command = [sys.executable, "-m", "benchmarks.speed.choice", "--child", network]
    command += ["--photos", str(options.photos), "--count", str(options.count)]
    command += ["--orders", str(order), "--threads", str(options.threads)]
    command += ["--busy"] if busy else []
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)  # noqa: S603
    return json.loads(done.stdout.splitlines()[-1])


def ordered(folder: Path, count: int, order: int) -> list[Path]:
    """The photos in the order of this number; 0 is by name."""
    photos = natural(folder, count)
    if order:
        random.Random(order).shuffle(photos)  # noqa: S311
    return photos


def main() -> None:
    """Run all networks, orders and loads, and write the result."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--networks", nargs="+", default=["lite0", "resnet50"])
    add("--photos", type=Path, default=PHOTOS)
    add("--count", type=int, default=24, help="photos per run")
    add("--orders", type=int, default=3, help="orders of the photos")
    add("--threads", type=int, default=2, help="threads of torch and OpenVINO")
    add("--out", type=Path, default=RESULTS / "speed" / "choice.json")
    add("--child", metavar="NETWORK", help=argparse.SUPPRESS)
    add("--busy", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        torch.set_num_threads(options.threads)
        photos = ordered(options.photos, options.count, options.orders)
        print(json.dumps(one_run(options.child, photos, busy=options.busy)))
        return
    if options.count <= SETTLED:
        parser.error(f"--count must be more than {SETTLED}")
    runs: list[Json] = []
    for order in range(options.orders):
        for network in options.networks:
            for busy in (False, True):
                print(f"{network}, order {order}, {'busy, then idle' if busy else 'idle'}")
                rows = child(options, network, order, busy=busy)
                run = {"network": network, "order": order, "busy": busy, **rated(rows)}
                shown(run)
                runs.append(run)
    packages = {name: installed(name) for name in ("scorecam", "torch", "openvino")}
    result = {"machine": machine("cpu", options.threads), "packages": packages, "runs": runs}
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
