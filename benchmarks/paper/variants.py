"""The variants and the maps of other packages on one photo, in numbers and as a picture.

    python -m benchmarks.paper.variants

grad-cam and torchcam run on the same network and the same layer. The column `same map` compares
each package with the module of `scorecam.compat` for it.
"""

from __future__ import annotations

import argparse
from importlib import resources
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

import scorecam
from benchmarks.common.markdown import table
from benchmarks.common.paths import IMAGES
from scorecam import Explanation
from scorecam.cam import VARIANTS
from scorecam.compat import official
from scorecam.compat import pytorch_grad_cam as like_pgc
from scorecam.compat import torchcam as like_torchcam
from tests.helpers import torchvision_ops


def variants(explanation: Explanation) -> tuple[dict[str, Tensor], str]:
    """The map of every variant, and the table about them."""
    index, other = explanation.target.index, explanation.top(2)[1].target
    print(f"target {explanation.target.label}, other class {other.label}\n")
    maps: dict[str, Tensor] = {}
    rows: list[list[str]] = []
    for name in VARIANTS:
        own = explanation.of(variant=name)
        maps[name] = own.scaled
        weights = own.bank.weights(index, name).abs()
        share = weights[weights > 0] / weights.sum()
        effective = float((-(share * share.log()).sum()).exp())
        rows.append(
            [
                f"`{name}`",
                f"{effective:.0f}",
                f"{float(share.max()):.2%}",
                f"{pearson(own.scaled, explanation.scaled):.3f}",
                f"{pearson(own.scaled, own.of(other.index).scaled):.3f}",
            ]
        )
    head = ["variant", "effective channels", "largest weight", "Pearson to official"]
    return maps, table([*head, f"Pearson to its own map of {other.label}"], rows)


def other_packages(explanation: Explanation, network: torch.nn.Module) -> dict[str, Tensor]:
    """The map of every other package, and the largest difference to `scorecam.compat`; printed."""
    import pytorch_grad_cam
    import torchcam.methods

    x, index = explanation.image[None], explanation.target.index
    targets = [like_pgc.ClassifierOutputTarget(index)]
    with pytorch_grad_cam.ScoreCAM(network, [network.head]) as method:
        pgc = torch.as_tensor(method(input_tensor=x, targets=targets)[0])
    with torchcam.methods.ScoreCAM(network, "head") as method:
        network(x)
        grid = method(index)[0]
    with like_torchcam.ScoreCAM(network, "head") as method:
        network(x)
        our_grid = method(index)[0]
    our_pgc = like_pgc.ScoreCAM(network, [network.head])(x, targets)[0]
    authors = official.ScoreCAM({"arch": network, "layer_name": "head"})(x, index)[0, 0]
    maps = {
        "pytorch-grad-cam": pgc,
        "torchcam": resized(grid, tuple(x.shape[2:])),
        "authors' code": authors,
    }
    differences = {
        "pytorch-grad-cam": np.abs(pgc.numpy() - our_pgc).max(),
        "torchcam": (grid - our_grid).abs().max(),
        "authors' code": (authors - explanation.scaled).abs().max(),
    }
    algorithm1 = explanation.of(variant="algorithm1").scaled
    rows = [
        [
            name,
            f"{pearson(heatmap, explanation.scaled):.4f}",
            f"{pearson(heatmap, algorithm1):.4f}",
            f"{float((heatmap - algorithm1).abs().max()):.3f}",
            f"{float(differences[name]):.1e}",
        ]
        for name, heatmap in maps.items()
    ]
    head = ["package", "Pearson to official", "to algorithm1"]
    head += ["largest difference to algorithm1", "same map, largest difference"]
    print(table(head, rows))
    return maps


def resized(grid: Tensor, size: tuple[int, ...]) -> Tensor:
    """A map `1 u v` at the image's size."""
    return torch.nn.functional.interpolate(grid[None], size, mode="bilinear")[0, 0]


def pearson(a: Tensor, b: Tensor) -> float:
    """The correlation of two maps."""
    return float(torch.corrcoef(torch.stack([a.flatten(), b.flatten()]))[0, 1])


def main() -> None:
    """Compute every map, print the tables, and draw the picture."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=IMAGES / "variants.png")
    options = parser.parse_args()
    torchvision_ops.define()  # before the other packages import torchvision
    torch.manual_seed(0)
    model = scorecam.open_model("lite0")
    network = model.module.eval()
    with resources.as_file(resources.files("scorecam").joinpath("data/chelsea.jpg")) as photo:
        explanation = scorecam.explain(model, photo)
    maps, lines = variants(explanation)
    print(lines)
    maps |= other_packages(explanation, network)
    explanation.side_by_side(maps, columns=4).save(options.out)


if __name__ == "__main__":
    main()
