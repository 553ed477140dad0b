"""A transformer with real weights: DINOv2-S/14 with a linear probe for the composites' classes.

    python -m benchmarks.transformers.probe --photos PHOTOS

The class token of the frozen network is classified by logistic regression with a penalty, fitted on
170 of the 236 composites and their mirror images. One photo of every cut-out that is in more than
one photo is held out: 66 photos that were used neither for the weights nor for the penalty. Their
cut-outs are known from other photos, on other backgrounds and in other sizes.

The probe is stored as safetensors. `benchmarks.transformers.probe:dinov2` is a spec of the network
with the probe as its head; `model()` opens it with its preprocessing and labels.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn
from torch.nn import functional

import scorecam
from benchmarks.common.paths import RESULTS
from benchmarks.paper.reproduced import cut_outs
from benchmarks.transformers import weights
from scorecam import Preprocess
from scorecam.datasets.opening import open_dataset
from scorecam.datasets.sample import Dataset, Sample
from scorecam.images import photo
from tests.helpers import torchvision_ops

SPEC = "benchmarks.transformers.probe:dinov2"
FILE = Path(os.environ.get("SCORECAM_PROBE", "out/probe/probe.safetensors"))
"""The probe that `dinov2` reads; the environment variable names another file."""

PREPROCESS = replace(Preprocess.imagenet(weights.SIDE), interpolation="bicubic")
SEED, FOLDS, STEPS, BATCH = 0, 4, 200, 16
PENALTIES = (1e-7, 1e-6, 1e-5, 1e-4)
"""Of the squared weights, for standardised features; cross-validation chooses one."""


@dataclass(frozen=True)
class Probe:
    """A linear classifier of the class token.

    Args:
        weight: `n k`, for features as the network gives them.
        bias: `n`.
        labels: the data set's name of each class.
    """

    weight: Tensor
    bias: Tensor
    labels: tuple[str, ...]

    def predictions(self, features: Tensor) -> Tensor:
        """The most likely column for each row of features."""
        return functional.linear(features, self.weight, self.bias).argmax(dim=1)


# ── the network ──────────────────────────────────────────────────────────────────────────────────


def dinov2() -> nn.Module:
    """The network with the probe as its head, in evaluation mode."""
    torchvision_ops.define()  # before timm imports torchvision
    network, probe = weights.backbone(), stored()
    network.head = nn.Linear(probe.weight.shape[1], len(probe.labels))
    network.head.load_state_dict({"weight": probe.weight, "bias": probe.bias})
    return network.eval()


def model() -> scorecam.Model:
    """The network with its preprocessing and the names of its classes."""
    return scorecam.open_model(SPEC, preprocess=PREPROCESS, labels=list(stored().labels))


def stored() -> Probe:
    """The probe in `FILE`.

    Raises:
        SystemExit: there is none.
    """
    if not FILE.exists():
        raise SystemExit(f"There is no {FILE}. Run `python -m benchmarks.transformers.probe`.")
    with safetensors.safe_open(FILE, framework="pt") as file:
        labels = tuple((file.metadata() or {})["labels"].split())
        return Probe(file.get_tensor("weight"), file.get_tensor("bias"), labels)


# ── photos ───────────────────────────────────────────────────────────────────────────────────────


def split(folder: Path) -> tuple[Dataset, Dataset]:
    """The composites for fitting, and those that are held out."""
    composites = open_dataset(str(folder / "composites"))
    shows = cut_outs(folder)
    by_cut_out: dict[str, list[Sample]] = defaultdict(list)
    for sample in composites.samples:
        by_cut_out[shows[Path(sample.name).stem]].append(sample)
    out = {min(samples, key=_key).id for samples in by_cut_out.values() if len(samples) > 1}
    fitted, held_out = (
        tuple(sample for sample in composites.samples if (sample.id in out) == wanted)
        for wanted in (False, True)
    )
    return replace(composites, samples=fitted), replace(composites, samples=held_out)


def _key(sample: Sample) -> bytes:
    """Orders photos at random, but the same way every time."""
    return hashlib.sha256(f"{SEED}/{sample.name}".encode()).digest()


@torch.inference_mode()
def features(network: nn.Module, samples: Sequence[Sample], *, mirrored: bool) -> Tensor:
    """The class tokens of photos, `n k`."""
    rows: list[Tensor] = []
    for first in range(0, len(samples), BATCH):
        images = inputs(samples[first : first + BATCH])
        rows.append(network(images.flip(3) if mirrored else images))
    return torch.cat(rows)


def inputs(samples: Sequence[Sample]) -> Tensor:
    """The network's input for photos, `b c h w`."""
    return torch.stack([PREPROCESS(photo.read_photo(sample.path)) for sample in samples])


def columns(dataset: Dataset) -> Tensor:
    """The column of each photo's class."""
    place = {label: column for column, label in enumerate(dataset.classes)}
    return torch.tensor([place[sample.label or ""] for sample in dataset.samples])


# ── fitting ──────────────────────────────────────────────────────────────────────────────────────


def fit(
    plain: Tensor, mirrored: Tensor, truth: Tensor, labels: tuple[str, ...]
) -> tuple[Probe, float]:
    """The probe with the penalty that cross-validation prefers, and this penalty.

    Args:
        plain, mirrored: features of the same photos and of their mirror images, `n k`.
        truth: the column of each photo.
    """
    order = torch.randperm(len(truth), generator=torch.Generator().manual_seed(SEED))
    losses = dict.fromkeys(PENALTIES, 0.0)
    for fold in range(FOLDS):
        out = torch.zeros(len(truth), dtype=torch.bool)
        out[order[fold::FOLDS]] = True
        for penalty in PENALTIES:
            both = torch.cat([plain[~out], mirrored[~out]])
            one = _fitted(both, truth[~out].repeat(2), labels, penalty)
            scores = functional.linear(plain[out], one.weight, one.bias)
            losses[penalty] += float(functional.cross_entropy(scores, truth[out])) / FOLDS
    best = min(losses, key=losses.__getitem__)
    print("loss by penalty:", {penalty: round(loss, 3) for penalty, loss in losses.items()})
    both = torch.cat([plain, mirrored])
    return _fitted(both, truth.repeat(2), labels, best), best


def _fitted(rows: Tensor, truth: Tensor, labels: tuple[str, ...], penalty: float) -> Probe:
    """Logistic regression on standardised features, as a probe of the features themselves."""
    mean, scale = rows.mean(dim=0), rows.std(dim=0)
    standard = (rows - mean) / scale
    layer = nn.Linear(rows.shape[1], len(labels))
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    optimiser = torch.optim.LBFGS(layer.parameters(), max_iter=STEPS, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimiser.zero_grad()
        value = functional.cross_entropy(layer(standard), truth)
        value = value + penalty * layer.weight.square().sum()
        value.backward()
        return value

    optimiser.step(loss)
    weight = (layer.weight / scale).detach()
    return Probe(weight, (layer.bias - weight @ mean).detach(), labels)


def main() -> None:
    """Fit the probe, store it, and print its accuracy."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--photos", type=Path, default=Path("out/photos"))
    options = parser.parse_args()
    torchvision_ops.define()
    network = weights.backbone()
    fitting, held_out = split(options.photos)
    apart = weights.difference(network, inputs(held_out.samples[:2]))
    print(f"largest difference to the file's tokens: {apart:.1e}")
    plain, mirrored = (features(network, fitting.samples, mirrored=each) for each in (False, True))
    labels = tuple(str(label) for label in fitting.classes)
    probe, penalty = fit(plain, mirrored, columns(fitting), labels)
    FILE.parent.mkdir(parents=True, exist_ok=True)
    tensors = {"weight": probe.weight.contiguous(), "bias": probe.bias}
    safetensors.torch.save_file(tensors, FILE, {"labels": " ".join(labels)})
    found = probe.predictions(features(network, held_out.samples, mirrored=False))
    right = int((found == columns(held_out)).sum())
    report = {"fitted": len(fitting), "held_out": len(held_out), "right": right}
    report |= {"penalty": penalty, "difference": apart}
    print(f"{len(fitting)} photos for fitting, {right} of {len(held_out)} held-out photos right")
    file = RESULTS / "transformers/probe.json"
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps(report, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
