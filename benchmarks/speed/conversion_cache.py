"""What a stored conversion saves: processor time for a converted network in a new process.

    python -m benchmarks.speed.conversion_cache

Every figure comes from a fresh process, in which the network has already made a pass. Processes
that convert, that convert and store, and that load a stored conversion take turns.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

from benchmarks.common.paths import RESULTS
from benchmarks.speed.machine import installed, machine
from benchmarks.speed.rows import Json
from benchmarks.speed.subjects import opened
from scorecam.backends.pytorch.model import TorchModel
from scorecam.backends.runtimes.openvino import RUNTIME
from scorecam.backends.runtimes.state import read_state
from tests.helpers import torchvision_ops

NETWORKS = ("lite0", "resnet50", "vgg16")
WAYS = ("convert", "convert and store", "load")
BAR = 0.1
"""The most of a conversion's processor time that loading should take."""


def one(network: str, precision: str, side: int) -> Json:
    """Seconds of this process for a converted network, which is stored or not."""
    torchvision_ops.define()  # before torchvision is imported
    model = opened(network, "cpu")
    assert isinstance(model, TorchModel)
    image = torch.rand(3, side, side)
    example = image.expand(RUNTIME.batch_for(image), *image.shape).contiguous()
    scores = model.scores(example[:1])
    RUNTIME.check(model, precision)  # it imports OpenVINO
    state = read_state(model.module, model.readout_key)
    wall, processor = time.perf_counter(), time.process_time()
    run = RUNTIME.convert(model, example, precision, state=state)
    processor, wall = time.process_time() - processor, time.perf_counter() - wall
    distance = float((run(example[:1]) - scores).abs().max() / scores.abs().max())
    return {"processor": processor, "wall": wall, "distance": distance}


def in_new_process(network: str, options: argparse.Namespace, folder: Path, way: str) -> Json:
    """The same in a fresh process."""
    if way == "convert and store":
        for file in stored(folder):
            file.unlink()
    size = "0" if way == "convert" else "2GiB"
    own = {"SCORECAM_CACHE": str(folder), "SCORECAM_CACHE_SIZE": size}
    command = [sys.executable, "-m", "benchmarks.speed.conversion_cache", "--one", network]
    command += ["--precision", options.precision, "--side", str(options.side)]
    done = subprocess.run(  # noqa: S603
        command, env=os.environ | own, capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout.splitlines()[-1])


def stored(folder: Path) -> list[Path]:
    return list((folder / "conversions").glob("*.conversion"))


def measure(network: str, options: argparse.Namespace) -> Json:
    """Medians over the rounds, and all figures."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        rounds = [
            {way: in_new_process(network, options, folder, way) for way in WAYS}
            for _ in range(options.rounds)
        ]
        [file] = stored(folder)
        size = file.stat().st_size
    seconds = {
        kind: {way: statistics.median(each[way][kind] for each in rounds) for way in WAYS}
        for kind in ("processor", "wall")
    }
    share = seconds["processor"]["load"] / seconds["processor"]["convert"]
    return {**seconds, "share": share, "bytes": size, "rounds": rounds}


def main() -> None:
    """Measure, print a table, and write the results."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--networks", default=",".join(NETWORKS), help="separated by commas")
    parser.add_argument("--precision", default="bfloat16")
    parser.add_argument("--side", type=int, default=224, help="of the images, in pixels")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, default=RESULTS / "speed" / "conversion-cache.json")
    parser.add_argument("--one", metavar="NETWORK", help="measure in this process, once")
    options = parser.parse_args()
    if options.one:
        print(json.dumps(one(options.one, options.precision, options.side)))
        return
    results = {name: measure(name, options) for name in options.networks.split(",")}
    print(f"{'processor seconds':<18}{'convert':>9}{'+ store':>9}{'load':>9}{'share':>8}{'MiB':>8}")
    for name, row in results.items():
        times = "".join(f"{row['processor'][way]:9.3f}" for way in WAYS)
        print(f"{name:<18}{times}{row['share']:8.1%}{row['bytes'] / 2**20:8.1f}")
    record = {
        "machine": machine("cpu", torch.get_num_threads()),
        "versions": {name: installed(name) for name in ("scorecam", "torch", "openvino")},
        "precision": options.precision,
        "bar": BAR,
        "networks": results,
    }
    options.out.write_text(json.dumps(record, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
