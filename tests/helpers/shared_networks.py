"""Networks that share a trunk, a training loop for one of them, and every public call."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

import scorecam
from scorecam.compat import official, pytorch_grad_cam
from scorecam.methods.names import heatmaps, parse_methods

IMAGE = torch.rand(3, 20, 28, generator=torch.Generator().manual_seed(1)) - 0.5
PREPROCESS = scorecam.Preprocess(
    size=(20, 28), fit="squash", mean=(0.5,) * 3, std=(0.5,) * 3, interpolation="nearest"
)


class Trunk(nn.Module):
    """Layers that depend on the mode, in a plain list that a view must follow; logs its passes."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 10, 3, stride=2)
        self.drop = nn.Dropout2d(0.5)
        self.relu = nn.ReLU()
        self.steps = [self.conv, self.drop, self.relu]  # modules in a plain list
        self.modes: list[bool] = []
        self.gradients: list[bool] = []

    def forward(self, images: Tensor) -> Tensor:
        if self.training:
            self.modes.append(all(step.training for step in self.steps))
            self.gradients.append(all(weight.requires_grad for weight in self.parameters()))
        for step in self.steps:
            images = step(images)
        return images


class Headed(nn.Module):
    """A trunk that networks may share, and its own head."""

    def __init__(self, trunk: Trunk, seed: int) -> None:
        super().__init__()
        self.trunk = trunk
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.classes = nn.Linear(10, 4)
            nn.init.normal_(self.classes.weight, std=3.0)

    def forward(self, images: Tensor) -> Tensor:
        return self.classes(self.flatten(self.pool(self.trunk(images))))


def make_trunk() -> Trunk:
    """A trunk in training mode, with the same weights every time."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Trunk()


def train(network: Headed, steps: int) -> Tensor:
    """Train the head, with dropout from torch's global generator; return its weights."""
    torch.manual_seed(7)
    network.train()
    optimiser = torch.optim.SGD(network.classes.parameters(), lr=0.1, momentum=0.9)
    images = IMAGE[None].expand(2, -1, -1, -1)
    for _ in range(steps):
        optimiser.zero_grad()
        network.zero_grad()
        network(images).square().mean().backward()
        assert network.trunk.conv.weight.grad is not None
        optimiser.step()
    return network.classes.weight.detach().clone()


def photos(folder: Path) -> Path:
    random = np.random.default_rng(0)
    for number in range(2):
        (folder / "photos" / "a").mkdir(parents=True, exist_ok=True)
        pixels = random.integers(0, 255, (20, 28, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / "photos" / "a" / f"{number}.png")
    return folder / "photos"


def _evaluated(network: nn.Module) -> Tensor:
    with tempfile.TemporaryDirectory() as folder:
        model = scorecam.open_model(network, preprocess=PREPROCESS, head="logits")
        scorecam.evaluate(
            model,
            photos(Path(folder)),
            "scorecam,random",
            "recognition",
            out=Path(folder) / "run",
            target="predicted",
            gallery=False,
            runtime="eager",
        )
        maps = sorted((Path(folder) / "run" / "maps").rglob("*.npy"))
        assert maps
        return torch.stack([torch.from_numpy(np.load(path)).float() for path in maps])


def _sanity(network: nn.Module) -> Tensor:
    with tempfile.TemporaryDirectory() as folder:
        model = scorecam.open_model(network, preprocess=PREPROCESS, head="logits")
        result = scorecam.sanity(
            model,
            photos(Path(folder)),
            "scorecam",
            out=Path(folder) / "sane",
            modes=["cascading"],
            budget="exact",
            runtime="eager",
        )
        assert result.points
        return torch.tensor([float(point.found.mean) for point in result.points])


def _trust(network: nn.Module) -> Tensor:
    model = scorecam.open_model(network, head="logits")
    explanation = scorecam.explain(model, IMAGE, 1, runtime="eager")
    trust = scorecam.check(model, explanation)
    return torch.tensor([float(evidence.value or 0) for evidence in trust.evidence])


def _layers(network: nn.Module) -> Tensor:
    layers = scorecam.layers(network, IMAGE)
    return torch.tensor([[layer.channels, *layer.grid, layer.default] for layer in layers])


def with_method(method: str) -> Callable[[nn.Module], Tensor]:
    def call(network: nn.Module) -> Tensor:
        model = scorecam.open_model(network, head="logits")
        explanation = scorecam.explain(model, IMAGE, 1, runtime="eager")
        [heatmap] = heatmaps(model, explanation, parse_methods(method)).values()
        return heatmap

    return call


def _scorecam(network: nn.Module, **settings: Any) -> scorecam.ScoreCAM:
    return scorecam.ScoreCAM(network, runtime="eager", **settings)


CALLS: dict[str, Callable[[Any], Tensor]] = {
    "explain": lambda net: scorecam.explain(net, IMAGE, 1, runtime="eager").heatmap,
    "explain, fast budget": lambda net: scorecam.explain(net, IMAGE, 1, budget="fast").heatmap,
    "ScoreCAM": lambda net: _scorecam(net)(torch.stack([IMAGE, -IMAGE]), [1, 2]),
    "ScoreCAM, a layer": lambda net: _scorecam(net, layer="trunk.conv")(IMAGE[None], 1),
    "bank": lambda net: _scorecam(net).bank(IMAGE).scores,
    "layers": _layers,
    "compat.official": lambda net: official.ScoreCAM(
        {"type": "alexnet", "arch": net, "layer_name": "trunk.relu", "input_size": (20, 28)}
    )(IMAGE[None], 1),
    "compat.pytorch_grad_cam": lambda net: torch.from_numpy(
        pytorch_grad_cam.ScoreCAM(net, [net.trunk.relu])(
            IMAGE[None], [pytorch_grad_cam.ClassifierOutputTarget(1)]
        )
    ),
}

EVAL_CALLS: dict[str, Callable[[Any], Tensor]] = {
    "check": _trust,
    "evaluate": _evaluated,
    "sanity": _sanity,
    "gradient": with_method("gradient"),
    "smoothgrad": with_method("smoothgrad:samples=4"),
    "gradcam": with_method("gradcam"),
    "guided": with_method("guided"),
    "rise": with_method("rise:masks=20"),
}
"""Calls that need the extra `eval`."""
