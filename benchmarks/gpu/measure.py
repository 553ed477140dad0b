"""The time of Score-CAM on one graphics card, compared with other packages and plain passes.

    python -m benchmarks.gpu.measure                   # on a card; `make bench-gpu`
    python -m benchmarks.gpu.measure --device cpu --small --out out/gpu.json

It needs torchcam, grad-cam and what scorecam itself needs. Rows take turns, round after round.
Every call ends with `torch.cuda.synchronize`, and the first call of each row is not counted.
Results are written as they arrive, so that a run that the time limit ends has results too.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import re
import signal
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import torch

from benchmarks.common.paths import RESULTS
from benchmarks.gpu import graphs
from benchmarks.gpu.clock import Clock
from benchmarks.gpu.rows import COMPILED, ROWS, Figures, Json, Row
from benchmarks.gpu.subjects import names, opened, photos
from benchmarks.gpu.work import RowFailedError, Subject, Work, fidelity, work_of
from benchmarks.speed.machine import installed, machine
from scorecam.backends.runtimes.casting import half_precision
from tests.helpers import torchvision_ops

FIRST = 0.6
"""The share of the time for the rows that compile nothing."""

GRACE = 20
"""Seconds after the time limit at which the process is ended, whatever it is doing."""

PAUSE = 1
"""Seconds between two writes of the results, at least."""

PACKAGES = ("scorecam", "torch", "torchvision", "torchcam", "grad-cam", "numpy")


class Bench:
    """Measures every row, and writes the results as they arrive.

    Args:
        options: of the command line.
    """

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.began = self.saved = time.monotonic()
        self.half = half_precision(torch.device(options.device)) or "bfloat16"
        self.networks: dict[str, dict[str, Figures]] = {name: {} for name in options.networks}
        self.subjects: dict[str, Subject] = {}
        self.report: Json = {
            "date": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
            "machine": machine(options.device, torch.get_num_threads()),
            "versions": {package: installed(package) for package in PACKAGES},
            "settings": {
                "half": self.half,
                "cuda": torch.version.cuda,
                "tf32": torch.backends.cudnn.allow_tf32,
                "batch": options.batch,
                "limit": options.limit,
            },
            "networks": {name: {} for name in options.networks},
        }

    def left(self, share: float = 1.0) -> float:
        """Seconds until this share of the time is used up."""
        return self.began + share * self.options.limit - time.monotonic()

    def all(self) -> None:
        """The rows that compile nothing on every network, then the others."""
        chosen = self.options.rows
        plain, compiled = (
            {key: row for key, row in rows.items() if chosen is None or key in chosen}
            for rows in (ROWS, COMPILED)
        )
        with graphs.offered(self.options.batch):
            for rows, start, end in ((plain, 0.0, FIRST), (compiled, FIRST, 1.0)):
                for number, name in enumerate(self.networks if rows else ()):
                    part = (number + 1) / len(self.networks)
                    self.network(name, rows, share=start + (end - start) * part)
        self.report["seconds"] = time.monotonic() - self.began
        self.write()

    def network(self, name: str, rows: Mapping[str, Row], share: float) -> None:
        """All rows of one network: a first call of each, then rounds until the time is used up."""
        if name not in self.subjects:
            self.subjects[name] = self.subject(name)
        subject = self.subjects[name]
        entry = self.networks[name]
        ready: dict[str, Work] = {}
        for key, row in rows.items():
            if self.left() < 0:
                break
            figures = entry[key] = Figures()
            try:
                ready[key] = self.first(row, subject, figures)
            except Exception as error:  # noqa: BLE001  (other packages raise errors of any kind)
                why = (str(error).splitlines() or [""])[0]
                figures.failure = f"{type(error).__name__}: {why[:300]}"
            self.save()
        for turn in range(self.options.rounds):
            for key, work in ready.items():
                # The first round is limited by the whole time, the others by the network's share.
                expected = entry[key].seconds[-1] if entry[key].seconds else 0.0
                if expected < self.left(share if turn else 1.0):
                    self.again(f"{name} {key}", work, entry[key])

    def subject(self, name: str) -> Subject:
        """The opened network with its photos."""
        options = self.options
        model = opened(name, options.device)
        images = photos(model, options.many).to(options.device)
        subject = Subject(model, images, self.half, options.batch, compared=options.compared)
        bank = subject.references[0].bank
        self.report["networks"][name] |= {
            "layer": subject.references[0].layer,
            "channels": len(bank.activations),
            "live": len(bank.live),
            "input": list(images.shape[1:]),
        }
        return subject

    def first(self, row: Row, subject: Subject, figures: Figures) -> Work:
        """Prepare a row, and call it once: conversions, and libraries that choose algorithms."""
        with Clock(self.options.device) as clock:
            work = work_of(row, subject, figures)
            heatmaps = work()
        figures.first_seconds, figures.peak_mib = clock.seconds, clock.mib
        figures.fidelity = fidelity(heatmaps, subject.references)
        return work

    def again(self, name: str, work: Work, figures: Figures) -> None:
        """Time one call."""
        try:
            with Clock(self.options.device) as clock:
                work()
        except RowFailedError as error:
            figures.failure = str(error)
            return
        figures.seconds.append(clock.seconds)
        figures.peak_mib = max(figures.peak_mib, clock.mib)
        print(f"{name}: {clock.seconds:.4g} s", file=sys.stderr, flush=True)
        self.save()

    def save(self) -> None:
        """Write everything so far, at most once in `PAUSE` seconds."""
        if time.monotonic() - self.saved >= PAUSE:
            self.write()

    def write(self) -> None:
        """Write everything so far."""
        self.saved = time.monotonic()
        for name, rows in self.networks.items():
            self.report["networks"][name]["rows"] = {k: asdict(f) for k, f in rows.items()}
        out: Path = self.options.out
        out.parent.mkdir(parents=True, exist_ok=True)
        part = out.with_suffix(".part")
        part.write_text(json.dumps(self.report, indent=1) + "\n", "utf-8")
        part.replace(out)


def parsed(arguments: list[str] | None = None) -> argparse.Namespace:
    """The options, made consistent."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--device", default="cuda")
    add("--small", action="store_true", help="small networks and few photos, to try the script")
    add("--networks", help="comma-separated; default: all that can be made here")
    add("--rows", help="comma-separated keys of benchmarks/gpu/rows.py; default: all")
    add("--rounds", type=int, default=5)
    add("--limit", type=float, default=320, help="seconds for everything")
    add("--out", type=Path, help="default: results/gpu/NAME.json, NAME being the card's")
    options = parser.parse_args(arguments)
    cuda = options.device.startswith("cuda")
    if cuda and not torch.cuda.is_available():
        parser.error("PyTorch finds no card. Try the script with --device cpu --small --out FILE.")
    if options.out is None and not cuda:
        parser.error("--out is needed for a device that is not a card.")
    if options.out is None:
        options.out = RESULTS / "gpu" / f"{slug(torch.cuda.get_device_name(options.device))}.json"
    known = names(small=options.small)
    options.networks = options.networks.split(",") if options.networks else known
    if unknown := set(options.networks) - set(known):
        parser.error(f"Unknown networks: {', '.join(sorted(unknown))}. Known: {', '.join(known)}.")
    options.rows = options.rows.split(",") if options.rows else None
    sizes = (8, 3, 2) if options.small else (graphs.BATCH, 16, 4)
    options.batch, options.many, options.compared = sizes
    return options


def slug(name: str) -> str:
    """A name as a file name: "NVIDIA H200" as "nvidia-h200"."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def main() -> None:
    """Measure, and write the results."""
    options = parsed()
    if hasattr(signal, "SIGALRM"):
        # Its default action ends the process, even inside a compiler or a call of the card.
        signal.setitimer(signal.ITIMER_REAL, options.limit + GRACE)
    torchvision_ops.define()
    Bench(options).all()
    print(options.out)


if __name__ == "__main__":
    main()
