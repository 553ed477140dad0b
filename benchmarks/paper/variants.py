"""The four variants and the other packages' own maps on one photo, as numbers and as a picture.

    python benchmarks/variants.py --out docs/images/variants.png

grad-cam and torchcam are run live, on the same network and the same layer; `same map` compares
each with this package's `compat` module for it.
"""

from __future__ import annotations

import argparse
import sys
from importlib import resources
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
import torchvision_ops

torchvision_ops.define()

import pytorch_grad_cam  # noqa: E402
import torchcam.methods  # noqa: E402

import scorecam  # noqa: E402
from scorecam.cam import VARIANTS  # noqa: E402
from scorecam.compat import official  # noqa: E402
from scorecam.compat import pytorch_grad_cam as like_pgc  # noqa: E402
from scorecam.compat import torchcam as like_torchcam  # noqa: E402


def main() -> None:
    """Compute every map, print the tables, draw the picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("variants.png"))
    options = parser.parse_args()

    torch.manual_seed(0)
    model = scorecam.open_model("lite0")
    network = model.module.eval()
    with resources.as_file(resources.files("scorecam").joinpath("data/chelsea.jpg")) as photo:
        explained = scorecam.explain(model, photo)
    x, index = explained.image[None], explained.target.index
    other = explained.top(2)[1].target

    maps: dict[str, Tensor] = {}
    print(f"target {explained.target.label}, other class {other.label}\n")
    print(
        "| variant | effective channels | largest weight | Pearson to official "
        f"| Pearson to its own map of {other.label} |\n|---|---|---|---|---|"
    )
    for name in VARIANTS:
        shown = explained.of(variant=name)
        maps[name] = shown.scaled
        weights = shown.bank.weights(index, name).abs()
        share = weights[weights > 0] / weights.sum()
        effective = float((-(share * share.log()).sum()).exp())
        print(
            f"| `{name}` | {effective:.0f} | {float(share.max()):.2%} "
            f"| {pearson(shown.scaled, explained.scaled):.3f} "
            f"| {pearson(shown.scaled, shown.of(other.index).scaled):.3f} |"
        )

    size = tuple(x.shape[2:])
    with pytorch_grad_cam.ScoreCAM(network, [network.head]) as theirs:
        targets = [like_pgc.ClassifierOutputTarget(index)]
        pgc = torch.as_tensor(theirs(input_tensor=x, targets=targets)[0])
    with torchcam.methods.ScoreCAM(network, "head") as theirs:
        network(x)
        low = theirs(index)[0]
    with like_torchcam.ScoreCAM(network, "head") as ours:
        network(x)
        our_low = ours(index)[0]
    our_pgc = like_pgc.ScoreCAM(network, [network.head])(x, targets)[0]
    authors = official.ScoreCAM({"arch": network, "layer_name": "head"})(x, index)[0, 0]
    maps["pytorch-grad-cam"] = pgc
    maps["torchcam"] = resized(low, size)
    maps["authors' code"] = authors

    print(
        "\n| package | Pearson to official | to algorithm1 | largest difference to algorithm1 "
        "| same map, largest difference |\n|---|---|---|---|---|"
    )
    for name, same in (
        ("pytorch-grad-cam", float(np.abs(pgc.numpy() - our_pgc).max())),
        ("torchcam", float((low - our_low).abs().max())),
        ("authors' code", float((authors - explained.scaled).abs().max())),
    ):
        near = (maps[name] - maps["algorithm1"]).abs().max()
        print(
            f"| {name} | {pearson(maps[name], maps['official']):.4f} "
            f"| {pearson(maps[name], maps['algorithm1']):.4f} | {float(near):.3f} | {same:.1e} |"
        )
    explained.side_by_side(maps, columns=4).save(options.out)


def resized(grid: Tensor, size: tuple[int, ...]) -> Tensor:
    """A map `1 u v` at the image's size."""
    return torch.nn.functional.interpolate(grid[None], size, mode="bilinear")[0, 0]


def pearson(a: Tensor, b: Tensor) -> float:
    """The correlation of two maps."""
    return float(torch.corrcoef(torch.stack([a.flatten(), b.flatten()]))[0, 1])


if __name__ == "__main__":
    main()
