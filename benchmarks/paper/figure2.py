"""The paper's Figure 2 in numbers: Grad-CAM weights against increases of confidence.

    python -m benchmarks.paper.figure2 --photos PHOTOS

The mask of every live channel is scored. Its increase of confidence is p(X·H_k) − p(fill)
(Definition 4). The Grad-CAM weight of the same channel is the mean of ∂z/∂A_k. Both are compared
over the channels of each photo: by Spearman's correlation, and by the share of pairs of channels
for which the larger weight has the larger increase. The picture shows three channels of one photo.
"""

from __future__ import annotations

import argparse
import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import torch
from scipy import stats
from torch import Tensor

import scorecam
from benchmarks.common.paths import IMAGES, RESULTS
from scorecam import Model, ScoreBank, cam
from scorecam.datasets.opening import open_dataset
from scorecam.datasets.selection import select
from scorecam.images.photo import read_photo
from scorecam.metrics.statistics import interval
from scorecam.model.model import WhiteBox


def gradcam_weights(model: Model, image: Tensor, layer: str, target: int) -> Tensor:
    """The Grad-CAM weight of every channel, `k`: the mean of ∂z_t/∂A_k over the grid."""
    if not isinstance(model, WhiteBox):
        raise TypeError(f"{model.spec} has no gradients")
    kept: list[Tensor] = []
    with model.differentiable() as module:
        watched = module.network.get_submodule(layer)
        handle = watched.register_forward_hook(lambda _module, _inputs, output: kept.append(output))
        score = module(image[None].clone().requires_grad_())[0, target]
        [gradient] = torch.autograd.grad(score, kept[-1])
        handle.remove()
    return gradient[0].flatten(1).mean(dim=1).detach()


def increases(bank: ScoreBank, target: int) -> Tensor:
    """The increase p_t(X·H_k) − p_t(fill) of every scored channel, `s`."""
    probabilities = bank.scores.softmax(dim=1)[:, target]
    return probabilities - bank.fill_scores.softmax(dim=0)[target]


def concordance(weights: np.ndarray, increases: np.ndarray) -> float:
    """The share of pairs of channels for which the larger weight has the larger increase."""
    tau = stats.kendalltau(weights, increases, variant="b").statistic
    return float((1 + tau) / 2)


def draw(model: Model, image: Tensor, bank: ScoreBank, weights: Tensor, path: Path) -> None:
    """Draw the photo and three of its channels, as in the paper."""
    target = bank.target(None)
    increase = increases(bank, target.index)
    own = weights[bank.asked]
    # The channel with the largest weight among those without an increase; the one with the largest
    # increase among those with at most 90 % of that weight; and one between the two.
    first = int(torch.where(increase < 0.01, own, -math.inf).argmax())
    last = int(torch.where((own > 0) & (own < 0.9 * own[first]), increase, -math.inf).argmax())
    between = (own < own[first]) & (own > own[last])
    middle = int(
        (increase - increase[last] / 2).abs().where(between, torch.tensor(math.inf)).argmin()
    )
    chosen = [first, middle, last]
    figure, axes = plt.subplots(1, 4, figsize=(11, 3.4))
    picture = np.asarray(model.preprocess.unnormalise(image))  # type: ignore[union-attr]
    axes[0].imshow(picture)
    axes[0].set_title(f"{target.label}, p = {target.probability:.2f}", fontsize=10)
    for axis, row in zip(axes[1:], chosen, strict=True):
        mask = cam.masks(bank.activations[bank.asked[row], None], bank.size, bank.masking)[0]
        axis.imshow((picture * mask[..., None].numpy()).astype(np.uint8))
        axis.set_title(
            f"Grad-CAM weight {1000 * float(own[row]):.2f} · 10⁻³\n"
            f"increase {float(increase[row]):+.3f}",
            fontsize=10,
        )
    for axis in axes:
        axis.axis("off")
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)
    plt.close(figure)


def main() -> None:
    """Measure every network, and draw one photo on the first."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--photos", type=Path, required=True, help="the folder with composites/")
    parser.add_argument("--networks", default="lite0")
    parser.add_argument("--limit", type=int, default=60)
    parser.add_argument("--out", type=Path, default=RESULTS / "paper")
    parser.add_argument(
        "--draw", default="camel-dromedary_01", help="part of the name of the photo to draw"
    )
    parser.add_argument("--picture", type=Path, default=IMAGES / "figure2.png")
    options = parser.parse_args()
    whole = open_dataset(str(options.photos / "composites"))
    dataset = select(whole, limit=options.limit)
    results: dict[str, Any] = {}
    for name in options.networks.split(","):
        model = scorecam.open_model(name)
        method = scorecam.ScoreCAM(model)
        rows: dict[str, list[float]] = {"spearman": [], "concordance": [], "best_rank": []}
        for sample in dataset.samples:
            image = model.preprocess(read_photo(sample.path))
            bank = method.bank(image)
            target = bank.target(None).index
            weights = gradcam_weights(model, image, bank.layer, target)
            own, increase = weights[bank.asked].numpy(), increases(bank, target).numpy()
            rank = float(stats.spearmanr(own, increase).statistic)
            rows["spearman"].append(rank)
            rows["concordance"].append(concordance(own, increase))
            # The rank of the channel with the largest weight, by increase.
            rows["best_rank"].append(float((increase > increase[own.argmax()]).mean()))
            print(name, sample.name, f"{rank:.2f}", flush=True)
        results[name] = {key: asdict(interval(values)) for key, values in rows.items()}
        if name == options.networks.split(",")[0]:
            [chosen] = [each for each in whole.samples if options.draw in each.name]
            image = model.preprocess(read_photo(chosen.path))
            bank = method.bank(image)
            weights = gradcam_weights(model, image, bank.layer, bank.target(None).index)
            draw(model, image, bank, weights, options.picture)
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "figure2.json").write_text(json.dumps(results, indent=2) + "\n", "utf-8")
    print(json.dumps(results, indent=2))


if __name__ == "__main__":
    main()
