"""Draw a signal, a volume and a video with their heatmaps, for docs/pictures.md.

    python -m benchmarks.pictures.draw

The inputs are made here. The networks are detectors with weights written by hand, so it is known
where their heatmaps must be large: at the wide beat, at the lesion, and at the ball that moves.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor, nn

import scorecam
from benchmarks.common.paths import IMAGES

RATE = 250
"""Samples per second of the signal."""

SPACING = (2.0, 1.0, 1.0)
"""The size of a voxel along d, h and w."""


class Detectors(nn.Module):
    """One filter per class; a score is the strongest response of its filter.

    Args:
        filters: a convolution without bias, one output channel per class.
        threshold: what a response must exceed.
        gain: multiplies the responses.
    """

    def __init__(self, filters: nn.Module, threshold: float, gain: float) -> None:
        super().__init__()
        self.filters, self.threshold, self.gain = filters, threshold, gain
        self.responses = nn.ReLU()

    def forward(self, images: Tensor) -> Tensor:
        found = self.responses(self.gain * (self.filters(images) - self.threshold))
        return found.flatten(2).amax(dim=2)


def bump(length: int, centre: float, width: float) -> Tensor:
    """A Gaussian along an axis."""
    return torch.exp(-(((torch.arange(length) - centre) / width) ** 2) / 2)


# ── the signal ───────────────────────────────────────────────────────────────────────────────


def heartbeats() -> Tensor:
    """Two leads of 8 seconds, `2 2000`, with one wide early beat."""
    length = 8 * RATE
    signal = 0.015 * torch.randn(2, length)
    for beat in (0.5, 1.35, 2.2, 3.05, 3.9, 5.75, 6.6, 7.45):
        for delay, width, height in (
            (-0.17, 0.025, 0.15), (-0.03, 0.01, -0.12), (0, 0.012, 1.0),
            (0.03, 0.011, -0.25), (0.25, 0.045, 0.3),
        ):  # fmt: skip
            wave = height * bump(length, (beat + delay) * RATE, width * RATE)
            signal += torch.stack([wave, 0.6 * wave])
    signal += torch.tensor([[1.0], [-0.9]]) * bump(length, 4.55 * RATE, 0.055 * RATE)
    signal += torch.tensor([[-0.45], [0.4]]) * bump(length, 4.8 * RATE, 0.07 * RATE)
    return signal


def beat_detectors() -> Detectors:
    """Classes: the wide beat and the normal beat."""
    lag = torch.arange(101) - 50
    wide = torch.exp(-((lag / (0.055 * RATE)) ** 2) / 2)
    narrow = torch.exp(-((lag / (0.012 * RATE)) ** 2) / 2)
    filters = nn.Conv1d(2, 2, 101, padding=50, bias=False)
    with torch.no_grad():
        filters.weight[0] = torch.stack([wide, -wide]) / wide.sum()
        filters.weight[1] = torch.stack([narrow, narrow]) / narrow.sum()
    return Detectors(filters, 0.3, 6.0)


# ── the volume ───────────────────────────────────────────────────────────────────────────────


def head() -> Tensor:
    """A shell with a lesion, `1 32 80 64`."""
    size = (32, 80, 64)
    places = torch.meshgrid(*(torch.arange(n, dtype=torch.float32) for n in size), indexing="ij")

    def ball(centre: tuple[float, ...], radii: tuple[float, ...]) -> Tensor:
        parts = zip(places, centre, radii, strict=True)
        distance = sum(((place - at) / radius) ** 2 for place, at, radius in parts)
        return torch.sigmoid(12 * (1 - torch.as_tensor(distance)))

    middle = (15.5, 39.5, 31.5)
    volume = 0.8 * ball(middle, (14, 35, 27)) - 0.45 * ball(middle, (12.5, 31, 23.5))
    for side in (-1, 1):
        volume -= 0.2 * ball((16, 36, 31.5 + 6 * side), (4, 11, 3.5))
    volume += 0.45 * ball((20, 54, 41), (2.5, 5, 5))
    smooth = nn.functional.avg_pool3d(torch.randn(1, 1, *size), 3, 1, 1)[0]
    return volume[None] + 0.03 * smooth


def lesion_detectors() -> Detectors:
    """Classes: a bright ball of this size, and a dark one."""
    lag = torch.meshgrid(*(torch.arange(15.0) - 7 for _ in range(3)), indexing="ij")
    distance = torch.sqrt((2 * lag[0]) ** 2 + lag[1] ** 2 + lag[2] ** 2)
    inside, around = (distance <= 3).float(), ((distance > 6) & (distance <= 7)).float()
    filters = nn.Conv3d(1, 2, 15, padding=7, bias=False)
    with torch.no_grad():
        filters.weight[0, 0] = inside / inside.sum() - around / around.sum()
        filters.weight[1] = -filters.weight[0]
    return Detectors(filters, 0.08, 20.0)


# ── the video ────────────────────────────────────────────────────────────────────────────────


def balls() -> Tensor:
    """A ball that rests and one that falls and stops, `3 32 96 128`."""
    frames, rows, columns = 32, 96, 128
    y, x = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
    ground = torch.stack([0.35 + 0.25 * y / rows, 0.45 + 0.15 * y / rows, 0.6 - 0.1 * y / rows])
    video = ground[:, None].repeat(1, frames, 1, 1)
    for frame in range(frames):
        fallen = min(max(frame - 14, 0), 10) / 10
        places = ((70.0, 34.0, (0.2, 0.5, 0.9)), (16 + 58 * fallen**2, 88.0, (0.9, 0.35, 0.15)))
        for row, column, colour in places:
            mask = torch.sigmoid(10 - torch.sqrt((y - row) ** 2 + (x - column) ** 2))
            paint = torch.tensor(colour)[:, None, None]
            video[:, frame] += mask * (paint - video[:, frame])
    return (video - 0.45) / 0.225


def motion_detectors() -> Detectors:
    """Classes: something red that moves, and something blue."""
    filters = nn.Conv3d(3, 2, (3, 9, 9), padding=(1, 4, 4), bias=False, padding_mode="replicate")
    with torch.no_grad():
        filters.weight.zero_()
        filters.weight[0, 0, 1], filters.weight[0, 0, 0] = 1 / 81, -1 / 81
        filters.weight[1, 2, 1], filters.weight[1, 0, 1] = 0.3 / 81, -0.3 / 81
    return Detectors(filters, 0.2, 4.0)


def main() -> None:
    """Explain and draw each input."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=IMAGES)
    options = parser.parse_args()
    torch.manual_seed(0)
    drawn = {
        "signal": overlay(beat_detectors(), heartbeats(), "wide beat", [1 / RATE]),
        "volume": overlay(lesion_detectors(), head(), "lesion", SPACING),
        "video": overlay(motion_detectors(), balls(), "moving ball", None),
    }
    for name, picture in drawn.items():
        picture.save(options.out / f"{name}.jpg", quality=88, subsampling=0, optimize=True)


def overlay(
    network: nn.Module, image: Tensor, name: str, spacing: Sequence[float] | None
) -> Image.Image:
    """The picture of the first class, which has this name."""
    model = scorecam.open_model(network, labels=[name, "other"], head="logits")
    return scorecam.explain(model, image, name, layer="responses").overlay(spacing=spacing)


if __name__ == "__main__":
    main()
