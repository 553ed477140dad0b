"""Weighted sums of activations at one pass: how close they are to Score-CAM, and what they cost.

    python -m benchmarks.deployed.map_branch NET.onnx --photos PHOTOS --work DIR

NET is EfficientNet-Lite0 as an ONNX file. For every photo, the map of the predicted class is
computed with 150 masks and kept in DIR. Fitted candidates are fitted to four fifths of the photos
and measured on the last fifth, five times. The result is written to
results/deployed/map_branch.json.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from PIL import Image
from torch import Tensor

import scorecam
from scorecam import cam
from scorecam.backends.branches.weights import Overlap, overlaps
from scorecam.base.interpolation import upsample
from scorecam.metrics.similarity import pearson
from scorecam.runs.map_branch.fit import Fit

RESULT = Path(__file__).parents[1] / "results/deployed/map_branch.json"
BUDGET = 150
FOLDS = 5
VARIANTS = ("official", "centred")
SIZE = (224, 224)


@dataclass
class Photo:
    """One photo: activations `k g`, Score-CAM's sums `g`, and the object's mask."""

    cells: Tensor
    sums: dict[str, Tensor]
    scores: Tensor
    row: Tensor
    mask: Tensor

    @property
    def mean(self) -> Tensor:
        return self.cells.mean(dim=0)


Make = Callable[[Photo, Any], Tensor]
Train = Callable[[list[Photo], str], Any]


def bank_files(model: scorecam.Model, photos: Path, work: Path) -> list[Path]:
    """One file per photo, computed unless it is there."""
    work.mkdir(parents=True, exist_ok=True)
    files = []
    for path in sorted((photos / "images").glob("*/*")):
        file = work / f"{path.stem}.npz"
        files.append(file)
        if file.exists():
            continue
        bank = scorecam.explain(model, str(path), budget=BUDGET).bank
        weights = {name: bank.weights(None, name).numpy() for name in VARIANTS}
        np.savez(
            file,
            A=bank.activations.numpy(),
            scores=bank.image_scores.numpy(),
            path=str(path),
            **weights,
        )
    return files


def read(file: Path, rows: Tensor, preprocess: scorecam.Preprocess) -> Photo:
    data = np.load(file)
    cells = torch.from_numpy(data["A"]).flatten(1)
    path = Path(str(data["path"]))
    mask = path.parents[2] / "masks" / path.parent.name / f"{path.stem}.png"
    seen = preprocess(Image.open(mask).convert("RGB"))[0] > 0
    sums = {name: torch.from_numpy(data[name]) @ cells for name in VARIANTS}
    scores = torch.from_numpy(data["scores"])
    return Photo(cells, sums, scores, rows[int(scores.argmax())], seen.float())


# ── candidates ───────────────────────────────────────────────────────────────────────────────


def equal(photo: Photo) -> Overlap:
    return Overlap(np.ones(len(photo.cells), np.float32))


def fit_to(features: Callable[[Photo], Tensor], train: list[Photo], variant: str) -> Overlap:
    """The library's fit, with the sums over all photos in one product, which is faster."""
    cells = torch.cat([features(photo) for photo in train], dim=1)
    sums = [photo.sums[variant] for photo in train]
    targets = torch.cat([each / each.abs().max() for each in sums])
    products = (cells @ cells.T).double()
    return Fit(products, (cells @ targets).double(), cells.shape[1], len(train)).weights()


def fitted(train: list[Photo], variant: str) -> Overlap:
    return fit_to(lambda photo: photo.cells, train, variant)


def by_means(train: list[Photo], variant: str) -> Tensor:
    """Weights linear in the mean activations, each channel for itself: α = u + v · mean."""
    return torch.from_numpy(fit_to(with_means, train, variant).channels)


def with_means(photo: Photo) -> Tensor:
    return torch.cat([photo.cells, photo.cells * photo.cells.mean(dim=1, keepdim=True)])


def probed(train: list[Photo], variant: str) -> Tensor:  # noqa: ARG001
    """A last layer fitted to the scores, as if the network's own were not known: `k n`."""
    means = torch.stack([photo.cells.mean(dim=1) for photo in train])
    scores = torch.stack([photo.scores for photo in train])
    means, scores = means - means.mean(dim=0), scores - scores.mean(dim=0)
    products = means @ means.T
    products.diagonal().add_(0.1 * products.diagonal().mean())
    return means.T @ torch.linalg.solve(products, scores)


def mixed(train: list[Photo], variant: str) -> Tensor:
    """One number each for the plain mean and the class's own map."""
    return torch.from_numpy(fit_to(two_maps, train, variant).channels)


def two_maps(photo: Photo) -> Tensor:
    own = photo.row @ photo.cells
    return torch.stack([photo.mean / photo.mean.max(), own / own.abs().max()])


def masked_cam(photo: Photo) -> Tensor:
    """The weight of a channel is the class's own map under its mask, less the mean."""
    shifted = photo.cells - photo.cells.amin(dim=1, keepdim=True)
    masks = shifted / shifted.amax(dim=1, keepdim=True).clamp(min=1e-20)
    alpha = masks @ (photo.row @ photo.cells)
    live = shifted.amax(dim=1) > 0
    return ((alpha - alpha[live].mean()) * live) @ photo.cells


CANDIDATES: dict[str, tuple[Train | None, Make]] = {
    "(a) plain mean of the activations": (None, lambda photo, _: photo.mean),
    "(b) one fitted weight per channel": (
        fitted,
        lambda photo, w: torch.from_numpy(w.channels) @ photo.cells,
    ),
    "(c) fitted weights linear in the mean activations": (
        by_means,
        lambda photo, w: w @ with_means(photo),
    ),
    "(d) the last layer's weights of the class": (
        None,
        lambda photo, _: photo.row @ photo.cells,
    ),
    "(e) a last layer fitted to the scores": (
        probed,
        lambda photo, w: w[:, int(photo.scores.argmax())] @ photo.cells,
    ),
    "(f) overlap with the plain mean": (
        None,
        lambda photo, _: overlaps(equal(photo), photo.cells) @ photo.cells,
    ),
    "(g) overlap with (b)": (fitted, lambda photo, w: overlaps(w, photo.cells) @ photo.cells),
    "(h) overlap with (d)": (None, lambda photo, _: masked_cam(photo)),
    "(i) plain mean and (d), two fitted numbers": (
        mixed,
        lambda photo, w: w @ two_maps(photo),
    ),
}
"""For each candidate: what is fitted, and the map on the grid before ReLU."""

COMPARED = ("(d) the last layer's weights of the class", "(g) overlap with (b)")
"""The two that are built; the others are compared with them photo by photo."""


# ── measures ─────────────────────────────────────────────────────────────────────────────────


def shown(grid: Tensor) -> Tensor:
    side = round(len(grid) ** 0.5)
    return cam.scaled(upsample(grid.relu().reshape(1, side, side), SIZE)[0])


def overlap_of(one: Tensor, other: Tensor) -> float:
    both = ((one > 0.5) & (other > 0.5)).sum()
    return float(both / ((one > 0.5) | (other > 0.5)).sum().clamp(min=1))


def energy(heatmap: Tensor, mask: Tensor) -> float:
    return float((heatmap * mask).sum() / heatmap.sum().clamp(min=1e-12))


def measured(photos: list[Photo], name: str, variant: str) -> dict[str, list[float]]:
    train, make = CANDIDATES[name]
    rows: dict[str, list[float]] = {"pearson": [], "iou": [], "energy": []}
    for fold in range(FOLDS):
        held_out = photos[fold::FOLDS]
        others = [photo for i, photo in enumerate(photos) if i % FOLDS != fold]
        weights = train(others, variant) if train else None
        for photo in held_out:
            own, truth = shown(make(photo, weights)), shown(photo.sums[variant])
            rows["pearson"].append(pearson(own, truth))
            rows["iou"].append(overlap_of(own, truth))
            rows["energy"].append(energy(own, photo.mask))
    return rows


def summary(values: list[float]) -> dict[str, float]:
    array = np.asarray(values)
    half = 1.96 * array.std(ddof=1) / len(array) ** 0.5
    low, worst = float(np.quantile(array, 0.05)), float(array.min())
    return {"mean": float(array.mean()), "half_width": float(half), "p5": low, "worst": worst}


def times(net: Path, branched: Path, rounds: int = 60) -> dict[str, Any]:
    """Milliseconds of a pass without and with the branch, one thread, taking turns."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    sessions = [onnxruntime.InferenceSession(str(path), options) for path in (net, branched)]
    inputs = {sessions[0].get_inputs()[0].name: np.zeros((1, 3, *SIZE), np.float32)}
    spent: list[list[float]] = [[], []]
    for _ in range(rounds):
        for session, mine in zip(sessions, spent, strict=True):
            began = time.perf_counter()
            session.run(None, inputs)
            mine.append(1000 * (time.perf_counter() - began))
    ratios = np.asarray(spent[1]) / np.asarray(spent[0])
    return {
        "without_ms": float(np.min(spent[0])),
        "with_ms": float(np.min(spent[1])),
        "ratio": float(np.median(ratios)),
        "bytes": branched.stat().st_size - net.stat().st_size,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("net", type=Path)
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    given = parser.parse_args()
    torch.set_num_threads(1)
    preprocess = scorecam.Preprocess.lite(224)
    model = scorecam.open_model(str(given.net), preprocess=preprocess)
    files = bank_files(model, given.photos, given.work)
    branched = given.work / "with_map.onnx"
    scorecam.export_with_map(model, out=branched, force=True)
    constants = {each.name: each for each in onnx.load(given.net).graph.initializer}
    rows = torch.from_numpy(onnx.numpy_helper.to_array(constants["classifier.weight"]).copy())
    photos = [read(file, rows, preprocess) for file in files]
    candidates: dict[str, Any] = {}
    pearsons: dict[tuple[str, str], Any] = {}
    for name in (*COMPARED, *(name for name in CANDIDATES if name not in COMPARED)):
        candidates[name] = {}
        for variant in VARIANTS:
            rows_of = measured(photos, name, variant)
            found = {key: summary(row) for key, row in rows_of.items()}
            pearsons[name, variant] = np.asarray(rows_of["pearson"])
            for other in COMPARED:
                if (other, variant) in pearsons and name != other:
                    difference = pearsons[name, variant] - pearsons[other, variant]
                    found[f"minus {other}"] = summary(list(difference))
            candidates[name][variant] = found
        print(name, json.dumps(candidates[name]["official"]["pearson"]), flush=True)
    own = {
        variant: summary([energy(shown(photo.sums[variant]), photo.mask) for photo in photos])
        for variant in VARIANTS
    }
    result = {
        "photos": len(photos),
        "budget": BUDGET,
        "candidates": {name: candidates[name] for name in CANDIDATES},
        "energy_of_score_cam": own,
        "time": times(given.net, branched),
    }
    RESULT.parent.mkdir(parents=True, exist_ok=True)
    RESULT.write_text(json.dumps(result, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
