"""The sanity check on networks trained here, with controls.

    python benchmarks/sane_training.py --work DIR

Weights: the short training's network of `training.py` (DIR is the same), and a wide one without
normalisation and biases, drawn anew from the head down. An edge detector must fail. Guided Backprop
should (Adebayo et al., NeurIPS 2018), most of all on the wide one (Nie, Zhang, Patel, ICML 2018:
with many filters it restores the image). Data: the same network that has learnt shuffled labels by
heart; beside it one that has learnt the same canvases with their own labels, which says how alike
the maps of two trainings are anyway. Writes benchmarks/results/sane-training.json.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fashion
import numpy as np
import safetensors.torch
import torch
import training
from torch import Tensor, nn
from torch.nn import functional

import scorecam
from scorecam import Model
from scorecam.base.interpolation import upsample
from scorecam.datasets.opening import open_dataset
from scorecam.images.photo import read_photo
from scorecam.metrics.similarity import spearman
from scorecam.metrics.statistics import interval
from scorecam.runs.sanity.networks import DATA, SHUFFLED
from scorecam.runs.sanity.sanity import Sanity
from scorecam.runs.tables import ANOTHER, CHANCE

METHODS = "scorecam,scorecam:variant=increase,gradcam,guided,gradient,edges"
TESTED_ON, SEEDS = 40, 2
LEARNT_ON, ENOUGH, PATIENCE = 400, 0.9, 300
"""Canvases of the shuffled training; the share known by heart that ends it; epochs at most."""

WIDE_ON, WIDE_EPOCHS, WIDE_LAYER = 4_000, 3, "last.1.1"

Found = dict[str, Any]


class Wide(nn.Sequential):
    """As `fashion.Net`, with 64 filters in every layer, and neither normalisation nor biases.

    It takes pixels from 0 to 1, so that a black background makes it say nothing.
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


def by_heart(pixels: np.ndarray, labels: np.ndarray) -> nn.Module:
    """A network that has seen these until it knows enough of them, without weight decay."""
    torch.manual_seed(1)
    network, images = fashion.Net(), fashion.inputs(pixels)
    wanted = torch.from_numpy(labels)
    descent = torch.optim.Adam(network.parameters(), 3e-3)
    for epoch in range(1, PATIENCE + 1):
        network.train()
        for batch in torch.randperm(len(labels)).split(50):
            descent.zero_grad()
            functional.cross_entropy(network(images[batch]), wanted[batch]).backward()
            descent.step()
        known = float((fashion.predictions(network.eval(), pixels) == labels).mean())
        if known >= ENOUGH:
            print("known by heart after", epoch, "epochs:", known, flush=True)
            break
    return network


def few() -> tuple[fashion.Canvases, np.ndarray]:
    """The small training set, and its labels shuffled."""
    seen = fashion.canvases("train", LEARNT_ON, seed=1)
    return seen, np.random.default_rng(0).permutation(seen.labels)


def wide() -> nn.Module:
    """A short training of the wide network."""
    torch.manual_seed(0)
    network, seen = Wide(), fashion.canvases("train", WIDE_ON, seed=0)
    images, wanted = fashion.inputs(seen.pixels), torch.from_numpy(seen.labels)
    descent = torch.optim.AdamW(network.parameters(), 2e-3)
    steps = WIDE_EPOCHS * (WIDE_ON // 64 + 1)
    rate = torch.optim.lr_scheduler.OneCycleLR(descent, 3e-3, total_steps=steps)
    for _ in range(WIDE_EPOCHS):
        for batch in torch.randperm(WIDE_ON).split(64):
            descent.zero_grad()
            functional.cross_entropy(network(images[batch]), wanted[batch]).backward()
            descent.step()
            rate.step()
    return network


def kept(network: nn.Module, file: Path, make: Callable[[], nn.Module]) -> nn.Module:
    """The network with the weights in a file, which are made where there is none yet."""
    if not file.exists():
        training.save(make().state_dict(), file)
    network.load_state_dict(safetensors.torch.load_file(file))
    return network.eval()


# ── what is measured ─────────────────────────────────────────────────────────────────────────


def opened(network: nn.Module) -> Model:
    return scorecam.open_model(network, preprocess=fashion.PREPROCESS, labels=list(fashion.CLASSES))


def right(network: nn.Module) -> float:
    """The share of 2,000 test canvases that it gets right."""
    seen = fashion.canvases("t10k", 2_000, seed=1)
    return float((fashion.predictions(network, seen.pixels) == seen.labels).mean())


def known(network: nn.Module, labels: np.ndarray, pixels: np.ndarray) -> float:
    return float((fashion.predictions(network, pixels) == labels).mean())


def equal_weights(network: nn.Module, layer: str, photos: str) -> Found:
    """How alike the official map and the plain sum of the activations are on the trained network.

    Spearman over the image. Where it is high the channels' weights hardly matter.
    """
    cam = scorecam.ScoreCAM(opened(network), layer=layer, runtime="eager")
    alike: list[float] = []
    for sample in open_dataset(photos).samples:
        bank = cam.bank(fashion.PREPROCESS(read_photo(sample.path)))
        plain = upsample(bank.activations.sum(dim=0)[None], bank.size)[0]
        alike.append(spearman(bank.heatmap(), plain))
    return interval([value for value in alike if not math.isnan(value)]).plain()


def checked(
    network: nn.Module, layer: str, photos: str, out: Path, *, other: nn.Module | None, seeds: int
) -> Found:
    """A check's verdicts and curves; printed too."""
    found: Sanity = scorecam.sanity(
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
    print(found.table, flush=True)
    return {
        "accuracy": right(network),
        "seeds": seeds,
        "stages": list(found.stages),
        "verdicts": dict(found.verdicts),
        "data verdicts": dict(found.data_verdicts),
        "points": json.loads((found.folder / "sanity.json").read_text("utf-8"))["items"],
    }


# ── the page ─────────────────────────────────────────────────────────────────────────────────

SANE = """`scorecam.sanity` on 40 test canvases: how alike are the maps of the trained network and
of one whose weights were drawn anew from the head down to a stage, for the class that the
trained one predicts? A method passes where, every stage drawn anew, the interval lies below 0.5.
*Different photos*: between the trained network's own maps of one canvas and the next.
"""

SANE_TITLES = {
    "shuffled": "A network, and one that knows shuffled labels by heart",
    "own labels": "Beside it: one that knows the same canvases' own labels by heart",
    "wide": "A wide network without normalisation and biases",
}
SANE_ABOUT = {
    "shuffled": "The trained network is right on {accuracy:.3f} of 2,000 test canvases. The other "
    "knows {known by heart:.3f} of 400 shuffled labels, and is right on {its accuracy:.3f} of the "
    "test canvases. {seeds} draws for each stage.\n",
    "own labels": "The other knows {known by heart:.3f} of the same 400 canvases' labels, and is "
    "right on {its accuracy:.3f} of the test canvases. {seeds} draw for each stage.\n",
    "wide": "Right on {accuracy:.3f} of the test canvases. {seeds} draw for each stage.\n",
}


def sanity_table(found: Found) -> str:
    """Spearman by stage, then the verdicts."""
    points = [
        each
        for each in found["points"]
        if each["measure"] == "spearman" and each["mode"] in ("cascading", DATA, CHANCE)
    ]
    methods = list(found["verdicts"])
    cells: dict[str, dict[str, str]] = {}
    for each in points:
        undefined = f" ({each['undefined']} undefined)" if each["undefined"] else ""
        stage = {DATA: "*the other network*", CHANCE: "*different photos*"}.get(
            each["mode"], each["stage"]
        )
        cells.setdefault(stage, {})[each["method"]] = training.words(each) + undefined
    rows = [[stage, *(own[method] for method in methods)] for stage, own in cells.items()]
    rows.append(["verdict, weights", *(found["verdicts"][method] for method in methods)])
    if found["data verdicts"]:
        told = found["data verdicts"]
        rows.append(["verdict, the other network", *(told[method] for method in methods)])
    return training.markdown(
        ["Spearman, drawn anew down to", *(f"`{name}`" for name in methods)], rows
    )


def likeness(checked: Found, method: str, stage: str) -> str:
    """Spearman's mean and interval of one method at one stage."""
    [point] = [
        each
        for each in checked["points"]
        if (each["method"], each["stage"], each["measure"]) == (method, stage, "spearman")
    ]
    return training.words(point)


def conclusions(sane: Found) -> str:
    """What the checks say, in words."""
    small, wide, own = sane["shuffled"], sane["wide"], sane["own labels"]
    plain = training.words(sane["equal weights"])
    head, last, taught = "head", "stem.0", SHUFFLED
    return f"""### What they say

* Edges fail everywhere, as a control must.
* Guided Backprop hardly asks the upper layers: with the head drawn anew its maps keep
  {likeness(small, "guided", head)}, the plain gradient's {likeness(small, "gradient", head)}. It
  passes nevertheless on the network with normalisation and biases, where drawing the lower layers
  moves it to {likeness(small, "guided", last)}. On the wide network it fails, with
  {likeness(wide, "guided", last)}; so does the gradient, with {likeness(wide, "gradient", last)}:
  where the canvas is black neither says anything, whatever the weights, and ranks count that. The
  network was made to bring this out: the same layers with a centred input let it pass.
* **Score-CAM fails on both networks**; on the first by two draws of the weights, while by the first
  draw alone ({likeness(own, "scorecam", last)}) it is undecided. Its weights are
  probabilities, so never negative, and where they differ little the map
  is the sum of the activations. The trained networks' maps and that
  plain sum are alike by {plain} and {training.words(wide["equal weights"])}.
  Behind so few layers that sum seems to show the garment whatever was learnt. Even the trained
  network's maps of different photos are alike by {likeness(small, "scorecam", ANOTHER)}, so that
  the rule's 0.5 can hardly be passed here; {likeness(small, "scorecam", last)} is above that too.
* It still tells what was learnt from what was not: against a network that learnt shuffled labels
  its maps keep {likeness(small, "scorecam", taught)}, against one that learnt the true ones
  {likeness(own, "scorecam", taught)}. Grad-CAM's weights are signed; it keeps
  {likeness(small, "gradcam", taught)} and {likeness(own, "gradcam", taught)}.
* Two trainings' maps are alike because both are right: the second table's *other network* is there
  for comparison, and its verdict says nothing.
"""


def sections(sane: Found) -> list[str]:
    """The second half of docs/training.md."""
    parts = ["## Do the maps depend on what was learnt?\n", SANE]
    for name, title in SANE_TITLES.items():
        each = sane[name]
        parts += [f"### {title}\n", SANE_ABOUT[name].format(**each), sanity_table(each)]
    return [*parts, conclusions(sane)]


def main() -> None:
    """Measure, and write what was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True, help="of training.py")
    parser.add_argument("--out", type=Path, default=training.RESULTS / "sane-training.json")
    options = parser.parse_args()
    work: Path = options.work
    training.trained(work / "short", training.SHORT)
    small = fashion.Net()
    small.load_state_dict(
        safetensors.torch.load_file(work / f"short/epoch{training.SHORT}.safetensors")
    )
    small.eval()
    photos = str(fashion.write(fashion.canvases("t10k", TESTED_ON, seed=2), work / "sane-canvases"))
    seen, shuffled = few()
    found: Found = {}
    for name, labels in (("shuffled", shuffled), ("own labels", seen.labels)):
        file = work / f"{name.replace(' ', '-')}.safetensors"
        other = kept(fashion.Net(), file, lambda labels=labels: by_heart(seen.pixels, labels))
        out, seeds = work / f"sane-{file.stem}", SEEDS if name == "shuffled" else 1
        found[name] = {
            "known by heart": known(other, labels, seen.pixels),
            "its accuracy": right(other),
            **checked(small, fashion.LAYER, photos, out, other=other, seeds=seeds),
        }
        options.out.write_text(json.dumps(found, indent=1) + "\n", "utf-8")
    found["equal weights"] = equal_weights(small, fashion.LAYER, photos)
    network = kept(Wide(), work / "wide.safetensors", wide)
    found["wide"] = checked(network, WIDE_LAYER, photos, work / "sane-wide", other=None, seeds=1)
    found["wide"]["equal weights"] = equal_weights(network, WIDE_LAYER, photos)
    options.out.write_text(json.dumps(found, indent=1) + "\n", "utf-8")
    training.publish()


if __name__ == "__main__":
    main()
