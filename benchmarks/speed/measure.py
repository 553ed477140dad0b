"""The time of a map here and in other packages, and how close it is to the exact map.

    python -m benchmarks.transformers.probe --photos PHOTOS      # once, for the network dinov2
    python -m benchmarks.speed.measure --photos PHOTOS

torchcam and grad-cam run on the same network, layer, class and number of threads, in float32. Every
figure comes from a fresh process that has only opened the model and read the photos. The time
therefore includes everything that scorecam converts, compiles or looks up first. Conversions are
kept on disk by default, so every process gets an empty cache; the rows that say so get the cache of
an earlier process that explained sixteen photos. The configurations take turns, round after round.

The results are written after every figure. A run that was stopped continues where it stopped, if
the code, the machine, the versions and the settings are still the same; otherwise it starts again.

Fidelity is measured against scorecam's own exact float32 map from the PyTorch network. The other
packages weight the channels differently (docs/variants.md) but make as many forward passes.

For one measurement alone, run `python -m benchmarks.speed.one`.
"""

from __future__ import annotations

import argparse
import datetime as dt
import hashlib
import json
import shutil
import statistics
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.common.paths import CACHE, PHOTOS, RESULTS
from benchmarks.speed.child import FailedError, run
from benchmarks.speed.figures import compared, summarised
from benchmarks.speed.job import Job
from benchmarks.speed.machine import installed, machine, source
from benchmarks.speed.peers import PEER_BATCH
from benchmarks.speed.report import tables
from benchmarks.speed.rows import MEASURED, ROWS, THREADS, TINY, Json
from benchmarks.speed.subjects import natural

PACKAGES = ("scorecam", "torch", "torchvision", "torchcam", "grad-cam", "openvino", "numpy")
SAME = ("schema", "source", "machine", "versions", "settings")
"""The parts of a report that a run to be continued has in common with this one."""

COMMITTED = RESULTS / "speed" / "speed-cpu.json"
UNKNOWN = 12.0
"""Seconds of a measurement of which nothing is known."""


class Bench:
    """All runs of all networks, written to disk as they finish."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.photos = natural(options.photos, options.many)
        fresh: Json = {
            "schema": 2,
            "source": source(),
            "date": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
            "machine": machine(options.device, THREADS),
            "versions": {name: installed(name) for name in PACKAGES},
            "settings": {
                "networks": options.networks,
                "photos": [path.name for path in self.photos],
                "peer_batch": PEER_BATCH,
                "reference_photos": options.reference_photos,
                "quick": options.quick,
            },
            "networks": {},
        }
        self.known = [_read(COMMITTED), _read(options.out)]
        kept = self.known[1]
        same = all(kept.get(part) == fresh[part] for part in SAME)
        self.report = kept if same else fresh
        self.new = not same

    def all(self, folder: Path) -> Json:
        """Every network: the references first, then the rounds over the rows."""
        if self.new:
            shutil.rmtree(self.options.work / "conversions", ignore_errors=True)
        say(f"about {self.minutes_left():.0f} minutes")
        for network in self.options.networks:
            self.open(network)
        for turn in range(max(row.rounds for row in ROWS.values())):
            for network in self.report["networks"]:
                self.round(network, turn, folder)
        return self.report

    def open(self, network: str) -> None:
        """Make the references. A network that fails, as one without its packages, is left out."""
        entry = self.report["networks"].setdefault(network, {"runs": {}, "failures": []})
        try:
            entry["references"] = self.references(network)
        except FailedError as failure:
            say(f"{network} is left out: {failure}")
            del self.report["networks"][network]

    def left(self) -> Iterator[tuple[str, str, int]]:
        """Network, row and round of every measurement that is missing."""
        for turn in range(max(row.rounds for row in ROWS.values())):
            for network in self.options.networks:
                for key in self.keys(network, turn):
                    yield network, key, turn

    def keys(self, network: str, turn: int) -> list[str]:
        """The rows that are missing in a round; their order changes from round to round."""
        runs = self.report["networks"].get(network, {}).get("runs", {})
        keys = [
            key
            for key, row in ROWS.items()
            if key in self.options.only
            and turn < (1 if self.options.quick else row.rounds)
            and all(figures["round"] != turn for figures in runs.get(key, []))
        ]
        first = [key for key in keys if not ROWS[key].of]
        at = turn % max(1, len(first))
        return [*first[at:], *first[:at], *(key for key in keys if ROWS[key].of)]

    def minutes_left(self) -> float:
        """About how long the missing measurements take, from those that are known."""
        return sum(self.seconds_of(network, key) for network, key, _ in self.left()) / 60

    def seconds_of(self, network: str, key: str) -> float:
        """About how long a process takes that measures this row."""
        for report in (self.report, *reversed(self.known)):
            runs = report.get("networks", {}).get(network, {}).get("runs", {}).get(key, [])
            if runs:
                again = 2 if ROWS[key].again else 1
                again *= runs[0].get("photos", 1)
                return statistics.median(
                    each.get("process_seconds", 6 + again * each["seconds"]) for each in runs
                )
        return UNKNOWN

    def references(self, network: str) -> list[Json]:
        """One exact map per photo. A kept map is reused while nothing it depends on has changed."""
        references: list[Json] = []
        for at in range(min(self.options.reference_photos, len(self.photos))):
            # The first photo is that of most rows.
            runtime = "auto" if at else "eager"
            kept = self.reference_file(network, at, runtime)
            if not kept.with_suffix(".json").exists():
                job = Job(
                    network,
                    "reference",
                    self.options.device,
                    self.photos,
                    at=at,
                    maps=kept,
                    runtime=runtime,
                )
                say(f"{network}: reference {at + 1}")
                # Written last: if this file exists, its map is complete.
                kept.with_suffix(".json").write_text(json.dumps(run(job, self.options.photos)))
            references.append(json.loads(kept.with_suffix(".json").read_text()))
        return references

    def reference_file(self, network: str, at: int, runtime: str) -> Path:
        """The file of an exact map, named after everything that the map depends on."""
        home = self.options.work / "references"
        home.mkdir(parents=True, exist_ok=True)
        parts = [network, runtime, *map(str, (self.report[part] for part in SAME))]
        digest = hashlib.sha256("\n".join(parts).encode())
        digest.update(self.photos[at].read_bytes())
        return home / f"{network}-{at}-{digest.hexdigest()[:12]}.npy"

    def cache(self, network: str, key: str) -> Path | None:
        """The conversions of an earlier process, which is run first; None for other rows."""
        if not ROWS[key].cached:
            return None
        folder = self.options.work / "conversions" / network
        if not folder.exists():
            say(f"{network}: a process that fills the cache of conversions")
            folder.mkdir(parents=True)
            try:
                run(self.job(network, "fast16"), self.options.photos, folder)
            except FailedError:
                shutil.rmtree(folder)
                raise
        return folder

    def round(self, network: str, turn: int, folder: Path) -> None:
        """Every missing row once, on the same photo."""
        entry = self.report["networks"][network]
        for key in self.keys(network, turn):
            entry["failures"] = [
                each for each in entry["failures"] if (each["row"], each["round"]) != (key, turn)
            ]
            try:
                figures = self.figures(network, key, turn, folder)
            except FailedError as failure:
                entry["failures"].append({"row": key, "round": turn, "error": str(failure)})
                say(f"{network}: {key}, round {turn + 1}: failed: {failure}")
                continue
            if figures is None:
                say(f"{network}: {key}, round {turn + 1}: {ROWS[key].of} was not measured")
                continue
            entry["runs"].setdefault(key, []).append(figures | {"round": turn})
            self.write()
            say(
                f"{network}: {key}, round {turn + 1}: {figures['seconds']:.3f} s; "
                f"about {self.minutes_left():.0f} minutes left"
            )

    def figures(self, network: str, key: str, turn: int, folder: Path) -> Json | None:
        """One measurement; None if the row that it repeats is missing."""
        maps, floor = folder / f"{network}-{key}-{turn}.npy", self.floor(network, key, turn)
        if ROWS[key].of and floor is None:
            return None
        job = self.job(network, key, maps=maps, floor=floor)
        figures = run(job, self.options.photos, self.cache(network, key))
        if maps.exists():
            figures["fidelity"] = list(self.fidelity(network, maps))
        return figures

    def job(self, network: str, row: str, **more: Any) -> Job:
        """The job, with the layer and the target that the reference found."""
        reference = self.report["networks"][network]["references"][0]
        more |= {"layer": reference["layer"], "target": reference["target"]}
        return Job(network, row, self.options.device, self.photos, **more)

    def floor(self, network: str, key: str, turn: int) -> tuple[str, str, int, int] | None:
        """What a floor repeats: the passes of the other row in this round."""
        for figures in self.report["networks"][network]["runs"].get(ROWS[key].of, []):
            if figures["round"] == turn:
                names = ("runtime", "precision", "forward_passes", "batch_size")
                runtime, precision, count, size = (figures[name] for name in names)
                return runtime, precision, count, size
        return None

    def fidelity(self, network: str, maps: Path) -> Iterator[Json]:
        """How close each map of a run is to the reference of its photo."""
        references = len(self.report["networks"][network]["references"])
        for photo, heatmap in enumerate(np.load(maps)[:references]):
            kept = self.reference_file(network, photo, "auto" if photo else "eager")
            yield {"photo": photo, **compared(heatmap, np.load(kept)[0])}

    def write(self) -> None:
        """Write the report."""
        self.options.out.parent.mkdir(parents=True, exist_ok=True)
        part = self.options.out.with_suffix(".part")
        part.write_text(json.dumps(self.report, indent=1) + "\n")
        part.replace(self.options.out)


def _read(file: Path) -> Json:
    """A report; empty if there is none."""
    return json.loads(file.read_text()) if file.is_file() else {}


def say(line: str) -> None:
    """Print progress to stderr, apart from the tables."""
    print(line, file=sys.stderr, flush=True)


def main() -> None:
    """Measure every row of every network, and print the tables."""
    with tempfile.TemporaryDirectory() as folder:
        for line in tables(summarised(Bench(parsed()).all(Path(folder)))):
            print(line)


def parsed() -> argparse.Namespace:
    """The options, made consistent."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--device", default="cpu")
    add("--photos", type=Path, default=PHOTOS)
    add("--networks", help=f"comma-separated: {MEASURED}, {TINY}, or a model spec")
    add("--only", default=",".join(ROWS), help="comma-separated rows; the others stay missing")
    add("--many", type=int, default=None, help="photos explained at once (16)")
    add("--out", type=Path, default=COMMITTED)
    add("--quick", action="store_true", help="try the script: a tiny network, one round, 3 photos")
    add("--reference-photos", type=int, default=2, help="photos with exact maps")
    add("--work", type=Path, default=CACHE / "speed", help="a folder for maps and conversions")
    options = parser.parse_args()
    options.networks = (options.networks or (TINY if options.quick else MEASURED)).split(",")
    options.only = options.only.split(",")
    if unknown := [key for key in options.only if key not in ROWS]:
        parser.error(f"there is no row {', '.join(unknown)}; the rows are {', '.join(ROWS)}")
    options.many = options.many or (3 if options.quick else 16)
    options.reference_photos = max(1, options.reference_photos)
    return options


if __name__ == "__main__":
    main()
