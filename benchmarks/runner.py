"""What `scorecam evaluate` costs beside the methods and measures it runs, and what it keeps.

    python benchmarks/runner.py --photos PHOTOS --out benchmarks/results/runner.json

Overhead: the same photos, methods and measures, once by hand and once as a run, alternating, on the
same network and runtime. Memory: a small network over 1,000 images; the resident set as it goes.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch
from PIL import Image
from torch import nn

import scorecam
from scorecam import Model, Preprocess, ScoreCAM
from scorecam.asking import Scorer
from scorecam.datasets import open_dataset
from scorecam.datasets.sample import Dataset
from scorecam.datasets.selection import select
from scorecam.metrics import Seen, Truth, parse_metrics
from scorecam.model import Speed
from scorecam.photo import read_photo

VARIANTS = ("official", "algorithm1")
METHODS = "scorecam,scorecam:variant=algorithm1"
RUNTIME = "openvino"


def by_hand(model: Model, dataset: Dataset, metrics: str) -> float:
    """Seconds that the methods and measures take by themselves."""
    began = time.perf_counter()
    for sample in dataset.samples:
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

            def ask(images: torch.Tensor, scorer: Scorer = scorer, target: int = target) -> Any:
                return scorer.probabilities(images, target)

            seen = Seen(heatmap, image, ask, truth)
            for metric in parse_metrics(metrics):
                metric.measure(seen)
    return time.perf_counter() - began


def as_a_run(model: Model, dataset: Dataset, metrics: str, folder: Path) -> float:
    """Seconds of the same as a run, its setting up and results included."""
    began = time.perf_counter()
    scorecam.evaluate(
        model, dataset, METHODS, metrics, out=folder, target="predicted", runtime=RUNTIME
    )
    return time.perf_counter() - began


def overhead(photos: Path, count: int, rounds: int) -> dict[str, Any]:
    """Ratios of a run to the same work by hand."""
    model = scorecam.open_model("lite0")
    dataset = select(open_dataset(str(photos / "composites")), limit=count)
    found: dict[str, list[float]] = {}
    for metrics in ("quick", "paper"):
        by_hand(model, select(dataset, limit=2), metrics)  # conversion, caches
        for number in range(rounds):
            folder = Path(tempfile.mkdtemp(prefix="runner-"))
            order = number % 2
            first = as_a_run(model, dataset, metrics, folder) if order else 0.0
            bare = by_hand(model, dataset, metrics)
            run = first if order else as_a_run(model, dataset, metrics, folder)
            shutil.rmtree(folder)
            found.setdefault(metrics, []).append(run / bare)
            print(f"{metrics}: {bare:.1f} s by hand, {run:.1f} s as a run, {run / bare:.3f}")
    return {
        metrics: {
            "median": statistics.median(ratios),
            "low": min(ratios),
            "high": max(ratios),
            "photos": count,
        }
        for metrics, ratios in found.items()
    }


def memory(count: int) -> list[dict[str, float]]:
    """The resident set, in MiB, as a run goes over many images."""
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

    def tell(progress: Any) -> None:
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
        progress=tell,
    )
    shutil.rmtree(folder)
    return rows


def main() -> None:
    """Measure both."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--count", type=int, default=6)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--out", type=Path, default=Path("runner.json"))
    options = parser.parse_args()
    results = {
        "memory": memory(options.images),
        "overhead": overhead(options.photos, options.count, options.rounds),
    }
    options.out.write_text(json.dumps(results, indent=1) + "\n", "utf-8")
    print(json.dumps(results["overhead"], indent=1))


if __name__ == "__main__":
    main()
