"""Maps of other libraries reach the metrics unchanged."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import ClassVar

import pytest
import torch
from torch import Tensor, nn

from scorecam.base.interpolation import upsample
from scorecam.images.photo import read_photo
from scorecam.metrics.metric import Measured, Metric, Outcome, Seen
from small_runs import SIDE, opened, photos, preprocess, run

pytestmark = [pytest.mark.needs("eval")]


class Kept(Metric):
    """A metric that only stores the maps."""

    name = "kept"
    source = "this test"
    outcomes = (Outcome("kept", "neither", "Kept"),)
    seen: ClassVar[list[tuple[Tensor, Tensor]]] = []

    def measure(self, seen: Seen) -> Measured:
        self.seen.append((seen.image, seen.heatmap))
        return Measured({"kept": 0.0})


def network() -> nn.Sequential:
    torch.manual_seed(4)
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(), nn.Conv2d(6, 8, 3, stride=2, padding=1),
        nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 3),
    ).eval()  # fmt: skip


def maps_of(method: str, net: nn.Module, tmp_path: Path) -> list[tuple[Tensor, Tensor]]:
    Kept.seen.clear()
    folder = photos(tmp_path / "photos", 4)
    run(
        folder, tmp_path / "run", method, model=opened(net), metrics=[Kept()], layer="3",
        target="predicted",
    )  # fmt: skip
    assert len(Kept.seen) == 4
    first = min(folder.rglob("*.png"), key=lambda path: str(path.relative_to(folder)))
    assert torch.equal(Kept.seen[0][0], preprocess()(read_photo(first)))
    return Kept.seen


def test_torchcam_maps_are_measured_unchanged(tmp_path: Path) -> None:
    from torchcam.methods import GradCAM

    net = network()
    for image, heatmap in maps_of("gradcam", net, tmp_path):
        with GradCAM(net, target_layer=net[3]) as theirs:
            x = image[None].clone().requires_grad_()
            scores = net(x)
            [low] = theirs(int(scores.argmax()), scores, normalized=False)
        whole = upsample(low.detach().reshape(1, *low.shape[-2:]), (SIDE, SIDE))[0]
        torch.testing.assert_close(heatmap, whole, rtol=0, atol=1e-6)


def test_captum_maps_are_measured_unchanged(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from captum.attr import IntegratedGradients, Saliency

    net = network()
    for image, heatmap in maps_of("gradient", net, tmp_path):
        x = image[None].clone().requires_grad_()
        theirs = Saliency(net).attribute(x, target=int(net(x).argmax()))
        torch.testing.assert_close(heatmap, theirs[0].abs().amax(dim=0), rtol=0, atol=1e-6)
    (tmp_path / "second").mkdir()
    for image, heatmap in maps_of("integrated:steps=8", net, tmp_path / "second"):
        x = image[None].clone()
        column = int(net(x).argmax())
        theirs = IntegratedGradients(net).attribute(x, target=column, n_steps=8)
        torch.testing.assert_close(
            heatmap, theirs[0].sum(dim=0).abs().float(), rtol=1e-5, atol=1e-6
        )
