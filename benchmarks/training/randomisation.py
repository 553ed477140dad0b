"""The sanity check on small networks trained here, with controls.

    python -m benchmarks.training.randomisation --work DIR

Model randomisation: the network of the short training of gates.py (DIR is the same folder), and a
wide network without normalisation and biases. Both are re-initialised from the head down. An edge
detector must fail. Guided Backprop should fail (Adebayo et al., NeurIPS 2018), most of all on the
wide network (Nie, Zhang, Patel, ICML 2018: with many filters it restores the image). Data
randomisation: a network of the same architecture that has memorised shuffled labels. For
comparison, another one has memorised the correct labels of the same canvases; it shows how similar
the maps of two trainings are anyway. Writes benchmarks/results/training/randomisation.json.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from torch import Tensor, nn
from torch.nn import functional

import scorecam
from benchmarks.common import fashion
from benchmarks.common.paths import RESULTS
from benchmarks.training import training_page
from benchmarks.training.epochs import SHORT, save, train
from scorecam import Model
from scorecam.base.interpolation import upsample
from scorecam.datasets.opening import open_dataset
from scorecam.images.photo import read_photo
from scorecam.metrics.similarity import spearman
from scorecam.metrics.statistics import interval
from scorecam.runs.sanity.results import Sanity

METHODS = (
    "scorecam,scorecam:variant=increase,scorecam:variant=centred,mean,gradcam,guided,gradient,edges"
)
TESTED_ON, SEEDS = 40, 2
LEARNT_ON, ENOUGH, PATIENCE = 400, 0.9, 300
"""Canvases to memorise; the memorised share that ends the training; the most epochs."""

WIDE_ON, WIDE_EPOCHS, WIDE_LAYER = 4_000, 3, "last.1.1"

Results = dict[str, Any]


class Wide(nn.Sequential):
    """Like `fashion.Net`, with 64 filters in every layer, without normalisation and biases.

    It sees pixels from 0 to 1, so that a black background gives activations of zero.
    """

    def __init__(self) -> None:
        super().__init__()
        self.add_module("stem", _block(1, 5))
        self.add_module("middle", nn.Sequential(nn.MaxPool2d(2), _block(64, 3)))
        self.add_module("last", nn.Sequential(nn.MaxPool2d(2), _block(64, 3)))
        self.add_module("pool", nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()))
        self.add_module("head", nn.Linear(64, len(fashion.CLASSES)))

    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images * fashion.PREPROCESS.std[0] + fashion.PREPROCESS.mean[0])


def _block(inputs: int, side: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, 64, side, padding=side // 2, bias=False), nn.ReLU())


# ── trainings ────────────────────────────────────────────────────────────────────────────────


def memorise(pixels: np.ndarray, labels: np.ndarray) -> nn.Module:
    """A network trained until it has memorised enough of these labels, without weight decay."""
    torch.manual_seed(1)
    network, images = fashion.Net(), fashion.inputs(pixels)
    targets = torch.from_numpy(labels)
    optimiser = torch.optim.Adam(network.parameters(), 3e-3)
    for epoch in range(1, PATIENCE + 1):
        network.train()
        for batch in torch.randperm(len(labels)).split(50):
            optimiser.zero_grad()
            functional.cross_entropy(network(images[batch]), targets[batch]).backward()
            optimiser.step()
        share = float((fashion.predictions(network.eval(), pixels) == labels).mean())
        if share >= ENOUGH:
            print("memorised after", epoch, "epochs:", share, flush=True)
            break
    return network


def few() -> tuple[fashion.Canvases, np.ndarray]:
    """The small training set, and its shuffled labels."""
    seen = fashion.canvases("train", LEARNT_ON, seed=1)
    return seen, np.random.default_rng(0).permutation(seen.labels)


def wide() -> nn.Module:
    """A short training of the wide network."""
    torch.manual_seed(0)
    network, seen = Wide(), fashion.canvases("train", WIDE_ON, seed=0)
    images, targets = fashion.inputs(seen.pixels), torch.from_numpy(seen.labels)
    optimiser = torch.optim.AdamW(network.parameters(), 2e-3)
    steps = WIDE_EPOCHS * (WIDE_ON // 64 + 1)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 3e-3, total_steps=steps)
    for _ in range(WIDE_EPOCHS):
        for batch in torch.randperm(WIDE_ON).split(64):
            optimiser.zero_grad()
            functional.cross_entropy(network(images[batch]), targets[batch]).backward()
            optimiser.step()
            schedule.step()
    return network


def kept(network: nn.Module, file: Path, make: Callable[[], nn.Module]) -> nn.Module:
    """The network with the weights of a file, which is made if it does not exist."""
    if not file.exists():
        save(make().state_dict(), file)
    network.load_state_dict(safetensors.torch.load_file(file))
    return network.eval()


# ── measuring ─────────────────────────────────────────────────────────────────────────


def opened(network: nn.Module) -> Model:
    return scorecam.open_model(network, preprocess=fashion.PREPROCESS, labels=list(fashion.CLASSES))


def accuracy(network: nn.Module) -> float:
    """The accuracy on 2,000 test canvases."""
    seen = fashion.canvases("t10k", 2_000, seed=1)
    return float((fashion.predictions(network, seen.pixels) == seen.labels).mean())


def memorised(network: nn.Module, labels: np.ndarray, pixels: np.ndarray) -> float:
    """The share of these labels that the network has memorised."""
    return float((fashion.predictions(network, pixels) == labels).mean())


def equal_weights(network: nn.Module, layer: str, photos: str) -> Results:
    """The similarity of the official map and the plain sum of the activations.

    Spearman over the image. Where it is high, the channel weights hardly matter.
    """
    cam = scorecam.ScoreCAM(opened(network), layer=layer, runtime="eager")
    similarities: list[float] = []
    for sample in open_dataset(photos).samples:
        bank = cam.bank(fashion.PREPROCESS(read_photo(sample.path)))
        plain = upsample(bank.activations.sum(dim=0)[None], bank.size)[0]
        similarities.append(spearman(bank.heatmap(), plain))
    return interval([value for value in similarities if not math.isnan(value)]).plain()


def checked(
    network: nn.Module, layer: str, photos: str, out: Path, *, other: nn.Module | None, seeds: int
) -> Results:
    """The verdicts and curves of a check; printed too."""
    check: Sanity = scorecam.sanity(
        opened(network),
        photos,
        METHODS,
        out=out,
        shuffled=None if other is None else opened(other),
        modes=("cascading",),
        seeds=seeds,
        layer=layer,
        budget="exact",
        runtime="eager",
    )
    print(check.table, flush=True)
    return {
        "accuracy": accuracy(network),
        "seeds": seeds,
        "stages": list(check.stages),
        "verdicts": dict(check.verdicts),
        "data verdicts": dict(check.data_verdicts),
        "points": json.loads((check.folder / "sanity.json").read_text("utf-8"))["items"],
    }


def main() -> None:
    """Measure, and write the results and the page."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--work", type=Path, required=True, help="the same folder as for gates.py")
    parser.add_argument("--out", type=Path, default=RESULTS / "training/randomisation.json")
    options = parser.parse_args()
    work: Path = options.work
    train(work / "short", SHORT)
    small = fashion.Net()
    small.load_state_dict(safetensors.torch.load_file(work / f"short/epoch{SHORT}.safetensors"))
    small.eval()
    photos = str(fashion.write(fashion.canvases("t10k", TESTED_ON, seed=2), work / "sane-canvases"))
    seen, shuffled = few()
    results: Results = {}
    for name, labels in (("shuffled", shuffled), ("own labels", seen.labels)):
        file = work / f"{name.replace(' ', '-')}.safetensors"
        other = kept(fashion.Net(), file, lambda labels=labels: memorise(seen.pixels, labels))
        out, seeds = work / f"sane-{file.stem}", SEEDS if name == "shuffled" else 1
        results[name] = {
            "memorised": memorised(other, labels, seen.pixels),
            "its accuracy": accuracy(other),
            **checked(small, fashion.LAYER, photos, out, other=other, seeds=seeds),
        }
        options.out.write_text(json.dumps(results, indent=1) + "\n", "utf-8")
    results["equal weights"] = equal_weights(small, fashion.LAYER, photos)
    network = kept(Wide(), work / "wide.safetensors", wide)
    results["wide"] = checked(network, WIDE_LAYER, photos, work / "sane-wide", other=None, seeds=1)
    results["wide"]["equal weights"] = equal_weights(network, WIDE_LAYER, photos)
    options.out.write_text(json.dumps(results, indent=1) + "\n", "utf-8")
    training_page.main()


if __name__ == "__main__":
    main()
