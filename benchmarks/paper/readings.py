"""The candidates for a variant that wins on all five metrics of the paper.

    python -m benchmarks.paper.readings --photos PHOTOS --networks lite0
    python -m benchmarks.paper.readings --photos PHOTOS --candidates centred

Every candidate computes its map from the same exact float32 bank, without further forward passes.
The photographs are those on which `consensus` was chosen: the even ones of every other photo of
composites and natural (`--limit 128`). The other photographs confirm the choice
(`reproduction_page.py`). Curves have 25 steps, to save time. Columns are Average Drop, Average
Increase, insertion, deletion, and the energy in the mask (for natural photos, in the boxes).
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import scorecam
from benchmarks.common.paths import RESULTS
from benchmarks.paper.centred_candidates import CANDIDATES, Candidate
from scorecam import Model, ScoreBank, cam
from scorecam.base.interpolation import upsample
from scorecam.datasets.opening import open_dataset
from scorecam.datasets.sample import Sample
from scorecam.images.photo import read_photo
from scorecam.metrics.faithfulness import Deletion, Insertion, Recognition
from scorecam.metrics.localisation import Energy
from scorecam.metrics.metric import Seen, Truth
from scorecam.metrics.statistics import interval, paired
from scorecam.model.engine import Speed
from scorecam.model.scorer import Scorer

STEPS = 25
OUTCOMES = ("average_drop", "average_increase", "insertion", "deletion", "energy")

# The Gaussian process that `consensus` uses, in multiples of its smooth part.
OURS: dict[str, Any] = {"reach": 0.77, "noise": 0.146, "linear": 24.5 / 13.3, "constant": 30 / 13.3}
# The Gaussian process of the first experiment, on the block means of the masks.
FIRST: dict[str, Any] = {"reach": 0.4, "noise": 0.02, "linear": 1.0, "constant": 0.0}


# ── parts ────────────────────────────────────────────────────────────────────────────────────


def live_maps(bank: ScoreBank) -> Tensor:
    """The activation maps that have a mask."""
    return bank.activations[bank.live]


def weighted(bank: ScoreBank, weights: Tensor) -> Tensor:
    """ReLU(Σ α_k A_k) over the live channels."""
    return cam.weighted_sum(live_maps(bank), weights).relu()


def softmax(temperature: float) -> Candidate:
    """α = softmax over k of z/T."""
    return lambda bank, target: weighted(bank, (bank.scores[:, target] / temperature).softmax(0))


def official(bank: ScoreBank, target: int) -> Tensor:
    """α = p."""
    return weighted(bank, bank.scores.softmax(1)[:, target])


def field(
    *, reach: float, noise: float, linear: float, constant: float,
    blocks: bool = False, log_odds: bool = False,
) -> Candidate:  # fmt: skip
    """Integrated gradients of a Gaussian process through all scores.

    Args:
        blocks: use the block means of each mask; otherwise the map, min-max scaled.
        log_odds: use the log-odds of the class; otherwise its logit.
    """

    def read(bank: ScoreBank, target: int) -> Tensor:
        maps = live_maps(bank)
        grid = maps.shape[1:]
        flat = maps.flatten(1)
        low, high = flat.aminmax(dim=1, keepdim=True)
        content = (flat - low) / (high - low).clamp(min=1e-30)
        if blocks:
            masks = [cam.masks(part, bank.size, bank.masking) for part in maps.split(128)]
            pool = torch.nn.functional.adaptive_avg_pool2d
            content = torch.cat([pool(each, tuple(grid)).flatten(1) for each in masks])
        cells = content.shape[1]
        distances = torch.cdist(content, content)
        scale = reach * float(distances[distances > 0].median())
        ends = torch.stack([torch.zeros(cells), torch.ones(cells)])
        content = torch.cat([content, ends])
        scores = torch.cat([bank.scores, bank.fill_scores[None], bank.image_scores[None]])
        z = scores[:, target]
        if log_odds:
            others = torch.arange(scores.shape[1]) != target
            z = z - scores[:, others].logsumexp(dim=1)
        known = (z - z[:-2].mean()).double()
        smooth = (-(torch.cdist(content, content) ** 2) / (2 * scale**2)).exp()
        covariance = smooth + linear * content @ content.T / cells + constant
        covariance += noise * torch.eye(len(content))
        solution = torch.linalg.solve(covariance.double(), known).float()
        total = linear * (solution[:, None] * content).sum(dim=0) / cells
        for step in range(10):
            away = content - (step + 0.5) / 10
            closeness = (-(away**2).sum(dim=1) / (2 * scale**2)).exp() * solution
            total = total + (closeness[:, None] * away).sum(dim=0) / scale**2 / 10
        return total.reshape(grid)

    return read


def gradcam(model: Model) -> Candidate:
    """Grad-CAM. With pooling and a linear head, its weights are the row of the head."""
    head = dict(model.module.named_parameters())["classifier.weight"].detach()  # type: ignore[attr-defined]
    return lambda bank, target: weighted(bank, head[target][bank.live])


def to_one(part: Tensor) -> Tensor:
    """The positive part divided by its maximum."""
    positive = part.relu()
    return positive / positive.max().clamp(min=1e-30)


def geometric(*parts: Candidate, shares: tuple[float, ...] | None = None) -> Candidate:
    """The cell-wise geometric mean."""
    powers = shares or (1 / len(parts),) * len(parts)

    def read(bank: ScoreBank, target: int) -> Tensor:
        held = [to_one(part(bank, target)) ** p for part, p in zip(parts, powers, strict=True)]
        return torch.stack(held).prod(dim=0)

    return read


def harmonic(one: Candidate, other: Candidate) -> Candidate:
    """The cell-wise harmonic mean."""

    def read(bank: ScoreBank, target: int) -> Tensor:
        first, second = (to_one(part(bank, target)).clamp(min=1e-6) for part in (one, other))
        return 2 / (1 / first + 1 / second)

    return read


def upsampled(one: Candidate, other: Candidate) -> Candidate:
    """The geometric mean of the upsampled maps."""

    def read(bank: ScoreBank, target: int) -> Tensor:
        parts = [to_one(part(bank, target))[None] for part in (one, other)]
        return upsample(torch.cat(parts), bank.size).prod(dim=0).sqrt()

    return read


def candidates(model: Model) -> dict[str, Candidate]:
    """Every candidate, by name."""
    sharp, ours = softmax(0.5), field(**OURS)
    unit = {**FIRST, "blocks": False}
    return {
        "gradcam": gradcam(model),
        "official": official,
        "algorithm1": softmax(1.0),
        "sharp": sharp,
        "field alone, first": field(**FIRST, blocks=True),
        "field alone": ours,
        "sharp × first field": geometric(sharp, field(**FIRST, blocks=True)),
        "the same, content unpooled": geometric(sharp, field(**unit)),
        "…, reach 0.6": geometric(sharp, field(**{**unit, "reach": 0.6})),
        "…, noise 0.1": geometric(sharp, field(**{**unit, "noise": 0.1})),
        "…, log-odds": geometric(sharp, field(**unit, log_odds=True)),
        "…, two reaches": geometric(sharp, field(**unit), field(**{**unit, "reach": 0.8})),
        "…, sharp 0.65": geometric(sharp, field(**unit), shares=(0.65, 0.35)),
        "…, sharp 0.35": geometric(sharp, field(**unit), shares=(0.35, 0.65)),
        "…, T = 1/3": geometric(softmax(1 / 3), field(**unit)),
        "algorithm1 × that field": geometric(softmax(1.0), field(**unit)),
        "official × that field": geometric(official, field(**unit)),
        "sharp × field (consensus)": geometric(sharp, ours),
        "…, reach 0.5": geometric(sharp, field(**{**OURS, "reach": 0.5})),
        "…, noise 0.05": geometric(sharp, field(**{**OURS, "noise": 0.05})),
        "…, reaches 0.4 and 0.8": geometric(
            sharp, field(**{**OURS, "reach": 0.4}), field(**{**OURS, "reach": 0.8})
        ),
        "…, sharp 0.4": geometric(sharp, ours, shares=(0.4, 0.6)),
        "…, harmonic": harmonic(sharp, ours),
        "…, in pixels": upsampled(sharp, ours),
        "algorithm1 × field": geometric(softmax(1.0), ours),
        "…, algorithm1 0.4": geometric(softmax(1.0), ours, shares=(0.4, 0.6)),
        "algorithm1, field, harmonic": harmonic(softmax(1.0), ours),
        "official × field": geometric(official, ours),
        "…, official 0.4": geometric(official, ours, shares=(0.4, 0.6)),
        "official, field, harmonic": harmonic(official, ours),
        "sharp, official, field twice": geometric(sharp, official, ours, ours),
    }


# ── measuring ────────────────────────────────────────────────────────────────────────────────


def photographs(folder: Path, limit: int) -> list[Sample]:
    """Photos at equal steps from composites and natural, and of these every other one."""
    samples = [
        sample
        for name in ("composites", "natural")
        for sample in open_dataset(str(folder / name)).samples
    ]
    samples.sort(key=lambda sample: str(sample.path))
    count = min(limit, len(samples))
    return [samples[number * len(samples) // count] for number in range(0, count, 2)]


def measured(model: Model, sample: Sample, tried: dict[str, Candidate]) -> dict[str, list[float]]:
    """The five metrics of every candidate on one photo, for the predicted class."""
    photo = read_photo(sample.path)
    image = model.preprocess(photo)  # type: ignore[misc]
    bank = scorecam.ScoreCAM(model).bank(image)
    target = bank.target(None).index
    speed = Speed(runtime=bank.provenance.runtime)  # type: ignore[arg-type]
    scorer = Scorer(model, image, head=bank.head, speed=speed)
    truth = Truth()
    if sample.mask is not None:
        truth = Truth(mask=model.preprocess.mask_to_input(sample.mask()))  # type: ignore[union-attr]
    elif sample.things:
        boxes = torch.tensor([thing.box for thing in sample.things])
        truth = Truth(boxes=model.preprocess.boxes_to_input(boxes, photo.size))  # type: ignore[union-attr]
    rows: dict[str, list[float]] = {}
    for name, candidate in tried.items():
        grid = candidate(bank, target)
        same = tuple(grid.shape) == tuple(bank.size)
        heatmap = grid if same else upsample(grid[None], bank.size)[0]
        seen = Seen(heatmap, image, lambda images: scorer.probabilities(images, target), truth)
        values: dict[str, float] = {}
        for metric in (Recognition(), Insertion(steps=STEPS), Deletion(steps=STEPS), Energy()):
            values |= metric.measure(seen).values
        values["energy"] = values.get("energy_mask", values.get("energy_box", float("nan")))
        rows[name] = [values[outcome] for outcome in OUTCOMES]
    return rows


def summary(rows: list[dict[str, list[float]]]) -> dict[str, Any]:
    """Means and differences to Grad-CAM and to `official`, with intervals."""
    results: dict[str, Any] = {}
    for name in rows[0]:
        results[name] = {}
        for place, outcome in enumerate(OUTCOMES):
            own = [row[name][place] for row in rows]
            results[name][outcome] = {
                **asdict(interval(own)),
                "against_gradcam": asdict(paired(own, [row["gradcam"][place] for row in rows])),
                "against_official": asdict(paired(own, [row["official"][place] for row in rows])),
            }
    return results


def main() -> None:
    """Measure every candidate on the photos used for choosing."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--networks", default="lite0,lite1")
    parser.add_argument("--limit", type=int, default=128)
    parser.add_argument("--candidates", choices=("consensus", "centred"), default="consensus")
    parser.add_argument("--out", type=Path, help="the file of results")
    options = parser.parse_args()
    name = {"consensus": "readings.json", "centred": "centred-readings.json"}[options.candidates]
    out: Path = options.out or RESULTS / "paper" / name
    results: dict[str, Any] = {}
    for name in options.networks.split(","):
        model = scorecam.open_model(name)
        tried = candidates(model)
        if options.candidates == "centred":
            tried = {"gradcam": gradcam(model), **CANDIDATES}
        rows: list[dict[str, list[float]]] = []
        for sample in photographs(options.photos, options.limit):
            rows.append(measured(model, sample, tried))
            print(name, len(rows), sample.name, flush=True)
        results[name] = {"photos": len(rows), "candidates": summary(rows)}
        out.write_text(json.dumps(results, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
