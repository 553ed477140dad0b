"""The time that `scorecam evaluate` adds to its methods and metrics, and the memory it uses.

    python -m benchmarks.speed.runner_overhead --photos PHOTOS

Overhead: the same photos, methods and metrics, once as a run and once by direct calls. They take
turns photo by photo in one process, so that other load on the machine affects both equally. Wall
time and processor time are measured. The work that a run does once is timed separately. Memory: the
resident set while a small network explains 1,000 images.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch
from PIL import Image
from torch import nn

import scorecam
from benchmarks.common.paths import RESULTS
from scorecam import Model, Preprocess, ScoreCAM
from scorecam.datasets.opening import open_dataset
from scorecam.datasets.sample import Dataset, Sample
from scorecam.datasets.selection import select
from scorecam.images.photo import read_photo
from scorecam.metrics.metric import Seen, Truth
from scorecam.metrics.names import parse_metrics
from scorecam.metrics.statistics import interval
from scorecam.model.engine import Speed
from scorecam.model.scorer import Scorer

VARIANTS = ("official", "algorithm1")
METHODS = "scorecam,scorecam:variant=algorithm1"
RUNTIME = "openvino"


def by_hand(model: Model, sample: Sample, metrics: str) -> None:
    """The methods and metrics on one photo, without a run."""
    photo = read_photo(sample.path)
    image = model.preprocess(photo)  # type: ignore[misc]
    bank = ScoreCAM(model, runtime=RUNTIME).bank(image)
    target = bank.target(None).index
    scorer = Scorer(model, image, head=bank.head, speed=Speed(runtime=RUNTIME))
    boxes = torch.tensor([thing.box for thing in sample.things or ()]).reshape(-1, 4)
    mask = sample.mask() if sample.mask is not None else None
    preprocess = model.preprocess
    truth = Truth(
        preprocess.boxes_to_input(boxes, photo.size),  # type: ignore[union-attr]
        None if mask is None else preprocess.mask_to_input(mask),  # type: ignore[union-attr]
    )
    for variant in VARIANTS:
        heatmap = bank.heatmap(target, variant)
        seen = Seen(heatmap, image, lambda images: scorer.probabilities(images, target), truth)
        for metric in parse_metrics(metrics):
            metric.measure(seen)


CLOCKS = {"clock": time.perf_counter, "processor": time.process_time}
"""Wall time, and the processor time of all cores, which other load affects less."""


def now() -> np.ndarray:
    """The reading of every clock."""
    return np.array([clock() for clock in CLOCKS.values()])


class Turns:
    """A progress callback that also explains every photo by hand, and times both.

    The run's time for a photo is the time between the end of one call and the start of the next.
    """

    def __init__(self, model: Model, dataset: Dataset, metrics: str) -> None:
        self.model, self.dataset, self.metrics = model, dataset, metrics
        self.hand: list[np.ndarray] = []
        self.run: list[np.ndarray] = []
        self.since = now()

    def __call__(self, progress: Any) -> None:
        """The run has finished a photo."""
        began = now()
        self.run.append(began - self.since)
        by_hand(self.model, self.dataset.samples[progress.done - 1], self.metrics)
        self.since = now()
        self.hand.append(self.since - began)


def overhead(photos: Path, count: int, presets: Sequence[str]) -> dict[str, Any]:
    """The time of a run relative to the same work by hand: for each photo, and once."""
    model = scorecam.open_model("lite0")
    dataset = select(open_dataset(str(photos / "composites")), limit=count)
    results: dict[str, Any] = {}
    for metrics in presets:
        by_hand(model, dataset.samples[0], metrics)  # conversion, caches
        folder = Path(tempfile.mkdtemp(prefix="runner-"))
        turns = Turns(model, dataset, metrics)
        how = {"out": folder, "target": "predicted", "runtime": RUNTIME, "progress": turns}
        evaluate = partial(scorecam.evaluate, model, dataset, METHODS, metrics, **how)
        evaluate()
        began = now()
        evaluate()  # nothing is left to explain: only the work that a run does once
        once = now() - began
        shutil.rmtree(folder)
        # The first photo's time includes the start of the run, which `once` counts.
        run, hand = np.array(turns.run[1:]), np.array(turns.hand[1:])
        results[metrics] = {"photos": count}
        for place, clock in enumerate(CLOCKS):
            own, bare = run[:, place], hand[:, place]
            results[metrics][clock] = {
                "each photo": interval((own / bare - 1).tolist()).plain(),
                "median photo": float(np.median(own / bare) - 1),
                "seconds by hand": float(np.median(bare)),
                "seconds once": float(once[place]),
                "all": float((own.sum() + once[place]) / bare.sum() - 1),
            }
        print(metrics, json.dumps(results[metrics], indent=1), flush=True)
    return results


def memory(count: int) -> list[dict[str, float]]:
    """The resident set in MiB, after every 100 images of a run."""
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 16, 5, stride=4), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(16, 10),
    )  # fmt: skip
    preprocess = Preprocess(size=(64, 64), fit="squash", mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
    model = scorecam.open_model(network, preprocess=preprocess)
    folder = Path(tempfile.mkdtemp(prefix="runner-"))
    random = np.random.default_rng(0)
    for number in range(count):
        pixels = random.integers(0, 255, (64, 64, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{number:04}.png")
    process = psutil.Process()
    rows: list[dict[str, float]] = []

    def record(progress: Any) -> None:
        if progress.done % 100 == 0:
            rows.append({"images": progress.done, "mib": process.memory_info().rss / 2**20})
            print(rows[-1])

    scorecam.evaluate(
        model,
        str(folder),
        METHODS,
        "quick",
        out=folder / "run",
        target="predicted",
        runtime="eager",
        progress=record,
    )
    shutil.rmtree(folder)
    return rows


def main() -> None:
    """Measure both, and write the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--count", type=int, default=25)
    parser.add_argument("--metrics", default="quick,paper", help="presets, measured one by one")
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--out", type=Path, default=RESULTS / "speed" / "runner-overhead.json")
    options = parser.parse_args()
    results = {
        "memory": memory(options.images),
        "overhead": overhead(options.photos, options.count, options.metrics.split(",")),
    }
    options.out.write_text(json.dumps(results, indent=1) + "\n", "utf-8")
    print(json.dumps(results["overhead"], indent=1))


if __name__ == "__main__":
    main()
